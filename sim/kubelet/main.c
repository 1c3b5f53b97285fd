// SPDX-License-Identifier: Apache-2.0

/* gpuslice-kubelet: the stand-in and its client commands, one table of verbs. */

#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "control.h"
#include "controlclient.h"
#include "kubelet.h"

enum { MAX_MANIFEST_BYTES = 1 << 20, EXIT_USAGE = 64 };

DEFINE_CLEANUP(json_t *, json_decref)
#define cleanup_json cleanup(json_decref_p)

/* The parsed command line of any verb. */
struct arguments {
    const char *root_dir, *namespace, *format, *container, *condition;
    const char **files;
    size_t n_files, files_capacity;
    uint64_t timeout_ms;
    bool dry_run;
    struct kubelet_options kubelet;
    char **words; /* after the options */
    int n_words;
};

static const char usage[] =
    "gpuslice-kubelet: a kubelet for trying out device plugins without a cluster\n"
    "\n"
    "  gpuslice-kubelet --root-dir DIR VERB ...\n"
    "\n"
    "  run                   serve plugins and run pods below DIR until SIGTERM\n"
    "  apply -f FILE...      create Deployment, ReplicaSet, Job, Pod\n"
    "  delete NAME           delete a workload or a pod\n"
    "  scale NAME N          change the number of replicas\n"
    "  get pods|node         show them\n"
    "  logs POD              print the output of its container\n"
    "  wait --for CONDITION  wait until it holds; 1 on timeout\n"
    "\n"
    "  --root-dir DIR            the stand-in's own folder, never a kubelet's\n"
    "  --device-plugin-dir DIR   of run: for plugins; default ROOT/device-plugins\n"
    "  -n, --namespace NAME      instead of default\n"
    "  -o, --output table|json   of get\n"
    "  -f, --filename FILE       of apply; - is standard input\n"
    "  --dry-run                 of apply: only check the manifests\n"
    "  -c, --container NAME      of logs\n"
    "  --for CONDITION           pods=N (running), pods.PHASE=N,\n"
    "                            RESOURCE=N (allocatable), capacity:RESOURCE=N,\n"
    "                            allocated:RESOURCE=N,\n"
    "                            settled=1 (no pod is in transition)\n"
    "  --timeout TIME            of wait: 500ms, 5s, 1m; default 30s\n"
    "  --version                 print the version and exit\n"
    "\n"
    "of run:\n"
    "  --run IMAGE=COMMAND       shell command for an image; * is a wildcard\n"
    "  --env NAME[=VALUE]        for every container; default value: our own\n"
    "  --node-root DIR           a root for gpuslice-arbiter: files of a node that\n"
    "                            tell whose each container's process is\n"
    "  --keep-pods               leave containers running on SIGTERM\n"
    "  --restart-back-off TIME   before the second restart; default 10s\n"
    "  --node-name NAME          instead of the host's name\n"
    "  --log-level LEVEL         debug, info, warning, error\n"
    "  --log-format FORMAT       logfmt, json\n";

static int complain(const char *sentence, const char *value)
{
    fprintf(stderr, "gpuslice-kubelet: %s%s%s\n", sentence, value ? ": " : "", value ? value : "");
    return EXIT_USAGE;
}

/* ---- run ---- */

static void handle_stopped(struct kubelet *kubelet)
{
    uv_stop(kubelet->loop);
}

static void handle_signal(uv_signal_t *signal, int number)
{
    log_info("stopping", "signal", log_number(number));
    kubelet_stop(signal->data, handle_stopped);
}

static int run_kubelet(const struct arguments *arguments)
{
    static const int numbers[] = {SIGTERM, SIGINT};
    uv_signal_t signals[ARRAY_SIZE(numbers)];
    struct error err = ERROR_INIT;
    struct kubelet *kubelet;
    uv_loop_t loop;

    if (uv_loop_init(&loop) < 0)
        return complain("cannot create an event loop", NULL), 1;
    signal(SIGPIPE, SIG_IGN);
    if (kubelet_new(&loop, &arguments->kubelet, &kubelet, &err) < 0) {
        uv_run(&loop, UV_RUN_DEFAULT);
        uv_loop_close(&loop);
        complain(error_text(&err), NULL);
        return 1;
    }
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        uv_signal_init(&loop, &signals[i]);
        signals[i].data = kubelet;
        uv_signal_start(&signals[i], handle_signal, numbers[i]);
    }
    log_info("kubelet stand-in ready", "root", arguments->root_dir);
    uv_run(&loop, UV_RUN_DEFAULT);
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
        uv_close((uv_handle_t *)&signals[i], NULL);
    kubelet_free(kubelet);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    return 0;
}

static int do_run(struct arguments *arguments)
{
    char name[256] = "localhost";

    if (arguments->n_words)
        return complain("run takes no argument", arguments->words[0]);
    if (!arguments->kubelet.command.node_name) {
        gethostname(name, sizeof(name) - 1);
        arguments->kubelet.command.node_name = name;
    }
    arguments->kubelet.root_dir = arguments->root_dir;
    return run_kubelet(arguments);
}

/* The process of a container without a command: exits with 0 on SIGTERM. */
static int do_pause(struct arguments *arguments)
{
    sigset_t ends;
    int number;

    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    return sigwait(&ends, &number);
}

/* ---- verbs that talk to a running stand-in ---- */

/* Sends the request, which it consumes, and prints the response. */
static int call(const struct arguments *arguments, json_t *owned, uint64_t timeout_ms)
{
    cleanup_json json_t *request = owned;
    cleanup_free char *output = NULL;
    struct error err = ERROR_INIT;
    int status;

    if (!request)
        return complain("cannot encode the request: is the text UTF-8?", NULL), 1;
    if (controlclient_call(arguments->root_dir, request, timeout_ms, &status, &output, &err) < 0) {
        complain(error_text(&err), NULL);
        return 1;
    }
    fputs(output, status ? stderr : stdout);
    return status;
}

static int apply_file(const struct arguments *arguments, const char *file)
{
    cleanup_free char *text = NULL;
    struct error err = ERROR_INIT;
    size_t size;

    if (file_read(str_equal(file, "-") ? "/dev/stdin" : file, MAX_MANIFEST_BYTES, &text, &size,
                  &err) < 0) {
        complain(error_text(&err), NULL);
        return 1;
    }
    return call(arguments,
                json_pack("{s:s, s:s, s:s, s:b, s:s%}", "verb", "apply", "source", file,
                          "namespace", arguments->namespace, "dry_run", arguments->dry_run, "text",
                          text, size),
                0);
}

static int do_apply(struct arguments *arguments)
{
    int status = 0;

    if (!arguments->n_files || arguments->n_words)
        return complain("usage: apply -f FILE", NULL);
    for (size_t i = 0; i < arguments->n_files; i++) {
        int one = apply_file(arguments, arguments->files[i]);

        status = one ? one : status;
    }
    return status;
}

static int do_delete(struct arguments *arguments)
{
    if (arguments->n_words != 1)
        return complain("usage: delete NAME", NULL);
    return call(arguments,
                json_pack("{s:s, s:s, s:s}", "verb", "delete", "namespace", arguments->namespace,
                          "name", arguments->words[0]),
                0);
}

static int do_scale(struct arguments *arguments)
{
    char *end = NULL;
    long replicas = arguments->n_words == 2 ? strtol(arguments->words[1], &end, 10) : 0;

    if (arguments->n_words != 2 || *end || end == arguments->words[1])
        return complain("usage: scale NAME N", NULL);
    return call(arguments,
                json_pack("{s:s, s:s, s:s, s:I}", "verb", "scale", "namespace",
                          arguments->namespace, "name", arguments->words[0], "replicas",
                          (json_int_t)replicas),
                0);
}

static int do_get(struct arguments *arguments)
{
    if (arguments->n_words != 1)
        return complain("usage: get pods|node", NULL);
    return call(arguments,
                json_pack("{s:s, s:s, s:s}", "verb", "get", "what", arguments->words[0], "format",
                          arguments->format),
                0);
}

static int print_file(const char *path)
{
    cleanup_fclose FILE *file = fopen(path, "re");
    char buffer[16384];
    size_t n;

    if (!file) {
        complain(path, strerror(errno));
        return 1;
    }
    while ((n = fread(buffer, 1, sizeof(buffer), file)))
        fwrite(buffer, 1, n, stdout);
    return 0;
}

static int do_logs(struct arguments *arguments)
{
    cleanup_json json_t *request = NULL;
    cleanup_free char *output = NULL;
    struct error err = ERROR_INIT;
    int status;

    if (arguments->n_words != 1)
        return complain("usage: logs POD [-c CONTAINER]", NULL);
    request = json_pack("{s:s, s:s, s:s, s:s*}", "verb", "logs", "namespace", arguments->namespace,
                        "name", arguments->words[0], "container", arguments->container);
    if (controlclient_call(arguments->root_dir, request, 0, &status, &output, &err) < 0) {
        complain(error_text(&err), NULL);
        return 1;
    }
    if (!status)
        return print_file(output);
    fputs(output, stderr);
    return status;
}

static int do_wait(struct arguments *arguments)
{
    if (!arguments->condition || arguments->n_words)
        return complain("usage: wait --for CONDITION [--timeout TIME]", NULL);
    return call(arguments,
                json_pack("{s:s, s:s, s:I}", "verb", "wait", "for", arguments->condition,
                          "timeout_ms", (json_int_t)arguments->timeout_ms),
                arguments->timeout_ms);
}

static int do_help(struct arguments *arguments)
{
    fputs(usage, stdout);
    return 0;
}

static const struct {
    const char *name;
    int (*run)(struct arguments *arguments);
    bool needs_root; /* the folder of a stand-in; there is no default, so that nobody hits a node's
                      */
} verbs[] = {
    {"run", do_run, true},     {"apply", do_apply, true},  {"delete", do_delete, true},
    {"scale", do_scale, true}, {"get", do_get, true},      {"logs", do_logs, true},
    {"wait", do_wait, true},   {"pause", do_pause, false}, {"help", do_help, false},
};

/* ---- options ---- */

/* "500ms", "5s", "2m", or a number of seconds. */
static bool parse_time(const char *text, uint64_t *ret_ms)
{
    static const struct {
        const char *unit;
        double ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"", 1000}, {"m", 60000}};
    char *end;
    double value = strtod(text, &end);

    if (end == text || !(value >= 0) || value > 1e6)
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(units); i++)
        if (str_equal(end, units[i].unit)) {
            *ret_ms = (uint64_t)(value * units[i].ms);
            return true;
        }
    return false;
}

static bool add_rule(struct command_options *options, char *text)
{
    struct run_rule rule, *slot;

    if (!run_rule_parse(text, &rule))
        return false;
    slot = array_push(&options->rules, &options->n_rules, &options->rules_capacity, sizeof(*slot));
    if (slot)
        *slot = rule;
    return slot;
}

/* "NAME" alone copies our own value, or leaves the variable unset if we have none. */
static bool add_variable(struct command_options *options, const char *text)
{
    bool complete = strchr(text, '=');
    const char *value = complete ? "" : getenv(text);
    char *whole, **slot;

    if (!value)
        return true;
    if (!*text || *text == '=' || asprintf(&whole, "%s%s%s", text, complete ? "" : "=", value) < 0)
        return false;
    slot = array_push(&options->variables, &options->n_variables, &options->variables_capacity,
                      sizeof(*slot));
    if (slot)
        *slot = whole;
    else
        free(whole);
    return slot;
}

static bool add_file(struct arguments *arguments, const char *file)
{
    const char **slot = array_push(&arguments->files, &arguments->n_files,
                                   &arguments->files_capacity, sizeof(*slot));

    if (slot)
        *slot = file;
    return slot;
}

enum long_option {
    OPTION_ROOT = 256,
    OPTION_RUN,
    OPTION_ENV,
    OPTION_PLUGINS,
    OPTION_NODE_ROOT,
    OPTION_KEEP,
    OPTION_BACK_OFF,
    OPTION_NODE,
    OPTION_LEVEL,
    OPTION_FORMAT,
    OPTION_FOR,
    OPTION_TIMEOUT,
    OPTION_DRY_RUN,
    OPTION_VERSION,
};

static const struct option options[] = {
    {"root-dir", required_argument, NULL, OPTION_ROOT},
    {"run", required_argument, NULL, OPTION_RUN},
    {"env", required_argument, NULL, OPTION_ENV},
    {"device-plugin-dir", required_argument, NULL, OPTION_PLUGINS},
    {"node-root", required_argument, NULL, OPTION_NODE_ROOT},
    {"keep-pods", no_argument, NULL, OPTION_KEEP},
    {"restart-back-off", required_argument, NULL, OPTION_BACK_OFF},
    {"node-name", required_argument, NULL, OPTION_NODE},
    {"log-level", required_argument, NULL, OPTION_LEVEL},
    {"log-format", required_argument, NULL, OPTION_FORMAT},
    {"for", required_argument, NULL, OPTION_FOR},
    {"timeout", required_argument, NULL, OPTION_TIMEOUT},
    {"namespace", required_argument, NULL, 'n'},
    {"output", required_argument, NULL, 'o'},
    {"filename", required_argument, NULL, 'f'},
    {"container", required_argument, NULL, 'c'},
    {"dry-run", no_argument, NULL, OPTION_DRY_RUN},
    {"version", no_argument, NULL, OPTION_VERSION},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* False if the value is invalid. */
static bool take_option(struct arguments *arguments, int option, char *value)
{
    static enum log_level level = LOG_INFO;
    static enum log_format format = LOG_LOGFMT;
    bool good = true;

    switch (option) {
    case OPTION_ROOT:
        arguments->root_dir = value;
        break;
    case OPTION_RUN:
        return add_rule(&arguments->kubelet.command, value);
    case OPTION_ENV:
        return add_variable(&arguments->kubelet.command, value);
    case OPTION_PLUGINS:
        arguments->kubelet.plugin_dir = value;
        break;
    case OPTION_NODE_ROOT:
        arguments->kubelet.node_root = value;
        break;
    case OPTION_KEEP:
        arguments->kubelet.keep_pods = true;
        break;
    case OPTION_BACK_OFF:
        return parse_time(value, &arguments->kubelet.restart_back_off_ms);
    case OPTION_NODE:
        arguments->kubelet.command.node_name = value;
        break;
    case OPTION_LEVEL:
        good = log_level_parse(value, &level);
        break;
    case OPTION_FORMAT:
        good = log_format_parse(value, &format);
        break;
    case OPTION_FOR:
        arguments->condition = value;
        break;
    case OPTION_TIMEOUT:
        return parse_time(value, &arguments->timeout_ms);
    case OPTION_DRY_RUN:
        arguments->dry_run = true;
        break;
    case 'n':
        arguments->namespace = value;
        break;
    case 'o':
        arguments->format = value;
        break;
    case 'f':
        return add_file(arguments, value);
    case 'c':
        arguments->container = value;
        break;
    default:
        return false;
    }
    log_setup(level, format);
    return good;
}

static void arguments_deinit(struct arguments *arguments)
{
    struct command_options *command = &arguments->kubelet.command;

    for (size_t i = 0; i < command->n_variables; i++)
        free(command->variables[i]);
    free(command->variables);
    free(command->rules);
    free(arguments->files);
}

static int parse_options(int argc, char **argv, struct arguments *arguments)
{
    int option;

    while ((option = getopt_long(argc, argv, "n:o:f:c:h", options, NULL)) >= 0) {
        if (option == 'h') {
            do_help(arguments);
            return 1;
        }
        if (option == OPTION_VERSION) {
            puts("gpuslice-kubelet " GPUSLICE_VERSION);
            return 1;
        }
        if (option == '?')
            return -EINVAL;
        if (!take_option(arguments, option, optarg)) {
            complain("invalid argument, see --help", optarg);
            return -EINVAL;
        }
    }
    arguments->words = argv + optind;
    arguments->n_words = argc - optind;
    return 0;
}

static int run_verb(struct arguments *arguments)
{
    const char *name = arguments->n_words ? arguments->words[0] : NULL;

    if (!name) {
        fputs(usage, stderr);
        return EXIT_USAGE;
    }
    arguments->words++;
    arguments->n_words--;
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
        if (!str_equal(verbs[i].name, name))
            continue;
        if (verbs[i].needs_root && !arguments->root_dir)
            return complain("name the folder of the stand-in with --root-dir DIR, for", name);
        return verbs[i].run(arguments);
    }
    return complain("unknown verb, see --help", name);
}

int main(int argc, char **argv)
{
    struct arguments arguments = {
        .namespace = "default",
        .format = "table",
        .timeout_ms = 30000,
        .kubelet = {.restart_back_off_ms = 10000},
    };
    int r = parse_options(argc, argv, &arguments);

    r = r > 0 ? 0 : r < 0 ? EXIT_USAGE : run_verb(&arguments);
    arguments_deinit(&arguments);
    return r;
}
