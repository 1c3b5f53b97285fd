// SPDX-License-Identifier: Apache-2.0
#include "arbiter/arbiteroptions.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/environment.h"
#include "base/log.h"
#include "base/number.h"
#include "base/text.h"
#include "limits/mode.h"
#include "proc/arbitermessage.h"

enum { SECONDS_MOST = 86400, DRIVER_DEADLINE_S = 10 };

static const struct option flags[] = {
    {"mode", required_argument, NULL, 'm'},
    {"limits", required_argument, NULL, 'l'},
    {"compute", required_argument, NULL, 'C'},
    {"kernel-limits", no_argument, NULL, 'k'},
    {"on-violation", required_argument, NULL, 'o'},
    {"grace", required_argument, NULL, 'g'},
    {"spare-namespaces", required_argument, NULL, 's'},
    {"local-grant", required_argument, NULL, 'G'},
    {"report-fd", required_argument, NULL, 'R'},
    {"run-group", required_argument, NULL, 'u'},
    {"root", required_argument, NULL, 'r'},
    {"state-dir", required_argument, NULL, 'S'},
    {"channel-dir", required_argument, NULL, 'c'},
    {"arbiter-dir", required_argument, NULL, 'a'},
    {"library", required_argument, NULL, 'L'},
    {"driver-root", required_argument, NULL, 'd'},
    {"container-driver-root", required_argument, NULL, 'D'},
    {"driver-deadline", required_argument, NULL, 't'},
    {"log-level", required_argument, NULL, 'v'},
    {"log-format", required_argument, NULL, 'f'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {NULL, 0, NULL, 0},
};

void arbiteroptions_help(void)
{
    puts("usage: gpuslice-arbiter [OPTION]...\n"
         "Watches who uses the memory of this node's GPUs, and reports pods that use more\n"
         "than their slices give, or that use a GPU without any slice.\n"
         "\n"
         "  --mode=audit            the only mode of this release: nothing is in any pod\n"
         "  --limits=WORD           limits the memory of containers with grants: enforced,\n"
         "                          observe or none to begin with; default: no limits\n"
         "  --compute=WORD          with --limits, how containers share the time of a GPU, to\n"
         "                          begin with: elastic or strict, by turns; observe; or none,\n"
         "                          as the hardware does, the default\n"
         "  --kernel-limits         where limits are enforced, the cgroups of containers have\n"
         "                          them as well; experimental\n"
         "  --on-violation=WORD     report (default), starve: such pods get no more memory\n"
         "                          where limits are enforced, or kill: such processes of\n"
         "                          pods; after the grace time, never a process of the node\n"
         "  --grace=S               seconds until that is done; default: 30\n"
         "  --spare-namespaces=NAME,...\n"
         "                          whose pods are only reported; default: kube-system\n"
         "  --local-grant=DIR       of one command instead of this node's containers: what\n"
         "                          'gpuslice run' starts\n"
         "  --report-fd=N           where to report to that one\n"
         "  --run-group=N           the number of a group whose members may have limits for\n"
         "                          'gpuslice run' of us, with --limits; default: root alone\n"
         "  --root=DIR              below which the node's /proc, /var and /run are\n"
         "  --state-dir=DIR         where it notes what it has reported; default:\n"
         "                          /run/gpuslice\n"
         "  --channel-dir=DIR       where gpuslice-http finds us\n"
         "  --arbiter-dir=DIR       where agent and command line find us; default: `arbiter`\n"
         "                          in the state folder\n"
         "  --library=FILE          the library that new containers get, with --limits;\n"
         "                          default: the one that comes with this program\n"
         "  --driver-root=DIR       the root of the driver's files, as the host sees it\n"
         "  --container-driver-root=DIR\n"
         "                          the same, as we see it\n"
         "  --driver-deadline=S     seconds until a call into the driver counts as hung\n"
         "  --log-level=LEVEL       debug, info, warning, error\n"
         "  --log-format=FORMAT     logfmt, json\n"
         "  --help, --version");
}

static int read_mode(const char *word, struct error *err)
{
    if (str_equal(word, "audit"))
        return 0;
    return error_set(err, -EINVAL, "--mode=%s: write audit, the only mode of this release", word);
}

static int read_limits(const char *word, struct arbiteroptions *options, struct error *err)
{
    if (!limits_parse_mode(word, &options->limits))
        return error_set(err, -EINVAL, "--limits=%s: write enforced, observe or none", word);
    options->has_limits = true;
    return 0;
}

static int read_compute(const char *word, struct arbiteroptions *options, struct error *err)
{
    if (limits_parse_compute(word, &options->compute))
        return 0;
    return error_set(err, -EINVAL, "--compute=%s: write elastic, strict, observe or none", word);
}

static int read_report(const char *word, struct arbiteroptions *options, struct error *err)
{
    uint32_t fd;

    if (!number_parse(word, &fd) || fd > INT_MAX)
        return error_set(err, -EINVAL, "--report-fd=%s: write the number of a descriptor", word);
    options->report_fd = (int)fd;
    return 0;
}

/* A number, since names are the node's and we may run in a container. */
static int read_group(const char *word, struct arbiteroptions *options, struct error *err)
{
    uint32_t group;

    if (!number_parse(word, &group) || group == UINT32_MAX)
        return error_set(err, -EINVAL,
                         "--run-group=%s: write the number of a group, as getent group NAME has it",
                         word);
    options->has_run_group = true;
    options->run_group = group;
    return 0;
}

static int read_violation(const char *word, struct arbiteroptions *options, struct error *err)
{
    if (violation_action_parse(word, &options->policy.action))
        return 0;
    return error_set(err, -EINVAL, "--on-violation=%s: write report, starve or kill", word);
}

static int read_seconds(const char *flag, const char *word, unsigned least, unsigned *to,
                        struct error *err)
{
    uint32_t number;

    if (!number_parse(word, &number) || number < least || number > SECONDS_MOST)
        return error_set(err, -EINVAL, "%s=%s: write a number of seconds from %u to %u", flag, word,
                         least, SECONDS_MOST);
    *to = number;
    return 0;
}

static int read_grace(const char *word, struct arbiteroptions *options, struct error *err)
{
    unsigned grace_s = 0;
    const int r = read_seconds("--grace", word, 0, &grace_s, err);

    if (r == 0)
        options->policy.grace_ms = grace_s * 1000ull;
    return r;
}

/* A name that is none would spare nobody, although its writer meant a namespace. */
static int check_spared(const char *list, struct error *err)
{
    const char *at = list;

    while (*list) {
        const size_t length = strcspn(at, ",");

        if (!length || strspn(at, "abcdefghijklmnopqrstuvwxyz0123456789-") != length)
            return error_set(err, -EINVAL,
                             "--spare-namespaces=%s: '%.*s' is no namespace: write NAME,NAME,... "
                             "without blanks",
                             list, (int)length, at);
        if (!at[length])
            break;
        at += length + 1;
    }
    return 0;
}

/* Where the value of a flag is a text and nothing else; NULL = elsewhere. */
static const char **find_text(int flag, struct arbiteroptions *options)
{
    switch (flag) {
    case 's':
        return &options->policy.spared;
    case 'G':
        return &options->local_grant;
    case 'r':
        return &options->root;
    case 'S':
        return &options->state_dir;
    case 'c':
        return &options->channel_dir;
    case 'a':
        return &options->arbiter_dir;
    case 'L':
        return &options->library;
    case 'd':
        return &options->driver_root;
    case 'D':
        return &options->container_driver_root;
    case 'v':
        return &options->log_level;
    case 'f':
        return &options->log_format;
    default:
        return NULL;
    }
}

static int read_flag(int flag, struct arbiteroptions *options, struct error *err)
{
    const char **text = find_text(flag, options);

    if (text) {
        *text = optarg;
        return 0;
    }
    switch (flag) {
    case 'm':
        return read_mode(optarg, err);
    case 'l':
        return read_limits(optarg, options, err);
    case 'C':
        return read_compute(optarg, options, err);
    case 'R':
        return read_report(optarg, options, err);
    case 'u':
        return read_group(optarg, options, err);
    case 'o':
        return read_violation(optarg, options, err);
    case 'g':
        return read_grace(optarg, options, err);
    case 't':
        return read_seconds("--driver-deadline", optarg, 1, &options->driver_deadline_s, err);
    case 'k':
        options->kernel_limits = true;
        return 0;
    case 'h':
        options->help = true;
        return 0;
    case 'V':
        options->version = true;
        return 0;
    default:
        return error_set(err, -EINVAL, "unknown flag, or one without its value");
    }
}

int arbiteroptions_parse(int argc, char *argv[], struct arbiteroptions *ret_options,
                         struct error *err)
{
    struct arbiteroptions options = {
        .policy = {.grace_ms = (uint64_t)VIOLATIONPOLICY_GRACE_S * 1000, .spared = "kube-system"},
        .report_fd = -1,
        .root = "",
        .state_dir = environment_get("GPUSLICE_STATE_DIR"),
        .driver_root = environment_get("NVIDIA_DRIVER_ROOT"),
        .container_driver_root = environment_get("CONTAINER_DRIVER_ROOT"),
        .driver_deadline_s = DRIVER_DEADLINE_S,
    };
    int flag, r = 0;

    if (!options.state_dir)
        options.state_dir = "/run/gpuslice";
    optind = 0; /* again from the start */
    opterr = 0;
    while (r == 0 && (flag = getopt_long(argc, argv, "", flags, NULL)) >= 0)
        r = read_flag(flag, &options, err);
    if (r < 0 && flag == '?')
        return error_set(err, -EINVAL, "%s: unknown, or without its value", argv[optind - 1]);
    if (r == 0 && optind < argc)
        r = error_set(err, -EINVAL, "%s: no such argument", argv[optind]);
    if (r == 0)
        r = check_spared(options.policy.spared, err);
    if (r == 0 && options.policy.action == VIOLATION_STARVE && !options.has_limits)
        r = error_set(err, -EINVAL,
                      "--on-violation=starve: without --limits no pod has a library that could be "
                      "refused memory: add --limits=enforced, or write report or kill");
    if (r == 0 && options.kernel_limits && !options.has_limits)
        r = error_set(err, -EINVAL,
                      "--kernel-limits: there are none without --limits: add "
                      "--limits=enforced");
    if (r == 0 && options.compute != LIMITS_COMPUTE_NONE && !options.has_limits)
        r = error_set(err, -EINVAL,
                      "--compute: without --limits no pod has a library that could wait for its "
                      "turn: add --limits=enforced, observe or none");
    if (r == 0)
        r = log_check_words(options.log_level, options.log_format, err);
    if (r == 0 && options.local_grant) {
        options.has_limits = true;
        options.limits = LIMITS_ENFORCED;
        options.state_dir = options.local_grant;
    }
    if (r == 0)
        *ret_options = options;
    return r;
}
