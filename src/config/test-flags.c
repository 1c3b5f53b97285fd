// SPDX-License-Identifier: Apache-2.0
#include "config/flags.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"
#include "config/load.h"

enum { MAX_WORDS = 12 };

struct parsed {
    struct agent_flags flags;
    struct config_overrides *overrides;
    struct config *config; /* with an empty file */
    struct problems problems;
    int r;
};

static struct parsed parse(const char *const words[], const char *const variables[])
{
    struct parsed parsed = {.problems = PROBLEMS_INIT};
    char *argv[MAX_WORDS + 2], *envp[MAX_WORDS + 1];
    int argc = 0, n = 0;

    argv[argc++] = (char *)(uintptr_t) "gpuslice-node";
    while (words && argc <= MAX_WORDS && words[argc - 1]) {
        argv[argc] = (char *)(uintptr_t)words[argc - 1];
        argc++;
    }
    argv[argc] = NULL;
    for (; variables && n < MAX_WORDS && variables[n]; n++)
        envp[n] = (char *)(uintptr_t)variables[n];
    envp[n] = NULL;
    parsed.r = flags_parse(argc, argv, envp, &parsed.flags, &parsed.overrides, &parsed.problems);
    if (parsed.r == 0)
        assert_int_equal(config_load(&(struct config_request){.strictness = CONFIG_AGENT,
                                                              .overrides = parsed.overrides},
                                     NULL, &parsed.config, NULL),
                         0);
    return parsed;
}

static void release(struct parsed *parsed)
{
    config_free(parsed->config);
    config_overrides_free(parsed->overrides);
    problems_deinit(&parsed->problems);
}

static void test_defaults(void **state)
{
    struct parsed s = parse(NULL, NULL);

    assert_int_equal(s.r, 0);
    assert_int_equal(s.problems.n_items, 0);
    assert_null(s.flags.config_file);
    assert_null(s.flags.config_key);
    assert_string_equal(s.flags.kubelet_socket, "/var/lib/kubelet/device-plugins/kubelet.sock");
    assert_string_equal(s.flags.plugin_dir, "/var/lib/kubelet/device-plugins");
    assert_string_equal(s.flags.http_address, "127.0.0.1:19400");
    assert_string_equal(s.flags.cdi_dir, "/var/run/cdi");
    assert_string_equal(s.flags.state_dir, "/run/gpuslice");
    assert_string_equal(s.flags.grant_dir, "/var/lib/gpuslice");
    assert_string_equal(s.flags.log_level, "info");
    assert_string_equal(s.flags.log_format, "logfmt");
    assert_int_equal(s.flags.driver_deadline_ms, 10000);
    assert_int_equal(s.flags.driver_patience_ms, 180000);
    assert_null(s.flags.disable_health_checks);
    assert_null(s.flags.enable_health_checks);
    assert_false(s.flags.help || s.flags.version);
    release(&s);
}

static void test_spellings_of_a_flag(void **state)
{
    static const char *const spellings[][MAX_WORDS] = {
        {"--driver-root", "/x", "--pass-device-specs"},
        {"--driver-root=/x", "--pass-device-specs=true"},
        {"-driver-root", "/x", "-pass-device-specs"},
        {"-driver-root=/x", "-pass-device-specs=T"},
        {"--nvidia-driver-root=/x", "--pass-device-specs=1"},
        {"--driver-root=/y", "--driver-root=/x", "--pass-device-specs=false",
         "--pass-device-specs"},
        {"--driver-root=/x", "--pass-device-specs", "--"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(spellings); i++) {
        struct parsed s = parse(spellings[i], NULL);

        assert_int_equal(s.r, 0);
        assert_int_equal(s.problems.n_items, 0);
        assert_string_equal(s.config->driver_root, "/x");
        assert_string_equal(s.config->dev_root, "/x");
        assert_true(s.config->plugin.pass_device_specs);
        release(&s);
    }
}

/* The arguments and the environment of NVIDIA's own DaemonSets. */
static void test_foreign_daemonset(void **state)
{
    static const char *const words[] = {"--mig-strategy=single",
                                        "--pass-device-specs=true",
                                        "--fail-on-init-error=false",
                                        "--device-list-strategy=envvar,volume-mounts",
                                        "--device-list-strategy=cdi-cri",
                                        "--output=/out",
                                        "--kubelet-socket=",
                                        NULL};
    static const char *const variables[] = {"CONFIG_FILE=/config/config.yaml",
                                            "MIG_STRATEGY=mixed",
                                            "NVIDIA_MIG_MONITOR_DEVICES=all",
                                            "GFD_SLEEP_INTERVAL=5m",
                                            "DP_DISABLE_HEALTHCHECKS=13,31",
                                            "NODE_NAME=node-1",
                                            NULL};
    struct parsed s = parse(words, variables);

    assert_int_equal(s.r, 0);
    assert_int_equal(s.problems.n_items, 1);
    assert_int_equal(s.problems.items[0].severity, PROBLEM_NOTE);
    assert_non_null(strstr(s.problems.items[0].text, "labels are written when they change"));
    assert_string_equal(s.flags.node_name, "node-1");
    assert_string_equal(s.flags.config_file, "/config/config.yaml");
    assert_string_equal(s.flags.kubelet_socket, "");
    assert_string_equal(s.flags.plugin_dir, "/var/lib/kubelet/device-plugins");
    assert_string_equal(s.flags.disable_health_checks, "13,31");
    assert_int_equal(s.config->policy.mig_strategy, MIG_STRATEGY_SINGLE);
    assert_false(s.config->fail_on_init_error);
    assert_int_equal(s.config->plugin.device_list_strategies,
                     LIST_STRATEGY_ENVVAR | LIST_STRATEGY_VOLUME_MOUNTS | LIST_STRATEGY_CDI_CRI);
    assert_string_equal(s.config->gfd.output_file, "/out");
    assert_int_equal(s.config->gfd.sleep_interval_ns, 300000000000);
    release(&s);
}

/* As in NVIDIA's programs: spaces around an item are not part of it. */
static void test_blanks_in_lists(void **state)
{
    static const char *const words[] = {"--fallback-strategies=named, single",
                                        "--fallback-strategies", " empty\t", NULL};
    static const char *const variables[] = {"DEVICE_LIST_STRATEGY= envvar , cdi-cri\n",
                                            "IMEX_CHANNEL_IDS=0 ", NULL};
    struct parsed s = parse(words, variables);

    assert_int_equal(s.r, 0);
    assert_string_equal(s.flags.fallback_strategies, "named,single,empty");
    assert_int_equal(s.config->plugin.device_list_strategies,
                     LIST_STRATEGY_ENVVAR | LIST_STRATEGY_CDI_CRI);
    assert_int_equal(s.config->n_imex_channel_ids, 1);
    release(&s);
}

/* Variables of both programs in one environment: the device plugin's win, in any order. */
static void test_the_device_plugin_outranks_feature_discovery(void **state)
{
    static const char *const orders[][MAX_WORDS] = {
        {"GFD_MIG_STRATEGY=single", "GFD_FAIL_ON_INIT_ERROR=true", "GFD_CONFIG_FILE=/gfd",
         "MIG_STRATEGY=mixed", "FAIL_ON_INIT_ERROR=false", "CONFIG_FILE=/plugin"},
        {"MIG_STRATEGY=mixed", "FAIL_ON_INIT_ERROR=false", "CONFIG_FILE=/plugin",
         "GFD_MIG_STRATEGY=single", "GFD_FAIL_ON_INIT_ERROR=true", "GFD_CONFIG_FILE=/gfd"},
        {"GFD_MIG_STRATEGY=mixed", "GFD_FAIL_ON_INIT_ERROR=false", "GFD_CONFIG_FILE=/plugin"},
    };
    static const size_t n_warnings[] = {3, 3, 0};

    for (size_t i = 0; i < ARRAY_SIZE(orders); i++) {
        struct parsed s = parse(NULL, orders[i]);

        assert_int_equal(s.r, 0);
        assert_int_equal(s.config->policy.mig_strategy, MIG_STRATEGY_MIXED);
        assert_false(s.config->fail_on_init_error);
        assert_string_equal(s.flags.config_file, "/plugin");
        assert_int_equal(problems_count(&s.problems, PROBLEM_WARNING), n_warnings[i]);
        release(&s);
    }
}

static void test_what_only_the_program_uses(void **state)
{
    static const char *const words[] = {"--config-file=c.yaml",       "--config-key", "any",
                                        "--kubelet-socket=/k/k.sock", "--log-level",  "debug",
                                        "--driver-deadline=1.5s",     "--help",       NULL};
    static const char *const variables[] = {"GPUSLICE_HTTP_ADDRESS=", "GPUSLICE_CDI_DIR=/cdi",
                                            "GPUSLICE_LOG_FORMAT=json", NULL};
    struct parsed s = parse(words, variables);

    assert_int_equal(s.r, 0);
    assert_string_equal(s.flags.config_file, "c.yaml");
    assert_string_equal(s.flags.config_key, "any");
    assert_string_equal(s.flags.plugin_dir, "/k");
    assert_string_equal(s.flags.http_address, "");
    assert_string_equal(s.flags.cdi_dir, "/cdi");
    assert_string_equal(s.flags.log_level, "debug");
    assert_string_equal(s.flags.log_format, "json");
    assert_int_equal(s.flags.driver_deadline_ms, 1500);
    assert_true(s.flags.help);
    release(&s);
}

static void test_help_counts_beside_errors(void **state)
{
    static const char *const words[] = {"--nonsense", "-h", NULL};
    struct parsed s = parse(words, NULL);

    assert_int_equal(s.r, 0);
    assert_true(s.flags.help);
    release(&s);
}

/* What is reported, with its severity; "" = nothing. */
static void test_each_fault_names_flag_or_variable(void **state)
{
    static const struct {
        const char *words[4], *variables[4], *parsed;
    } table[] = {
        {{"--mig-strateg=none"},
         {NULL},
         "error --mig-strateg: unknown flag; did you mean "
         "--mig-strategy?"},
        {{"--xyzzy"}, {NULL}, "error --xyzzy: unknown flag; see --help"},
        {{"-x"}, {NULL}, "error -x: unknown flag; see --help"},
        {{"--mig-strategy"},
         {NULL},
         "error --mig-strategy: needs a value: write "
         "--mig-strategy=WORD"},
        {{"--mig-strategy=singel"},
         {NULL},
         "error --mig-strategy: 'singel' is not one of: none, "
         "single, mixed; did you mean 'single'?"},
        {{NULL},
         {"MIG_STRATEGY=all"},
         "error MIG_STRATEGY: 'all' is not one of: none, single, "
         "mixed"},
        {{NULL}, {"MIG_STRATEGY="}, "warning MIG_STRATEGY: is empty and counts as unset"},
        {{NULL},
         {"FAIL_ON_INIT_ERROR="},
         "warning FAIL_ON_INIT_ERROR: is empty, which means "
         "false; write false"},
        {{NULL},
         {"FAIL_ON_INIT_ERROR=yes"},
         "error FAIL_ON_INIT_ERROR: expected true or false, "
         "got 'yes'"},
        {{NULL},
         {"GFD_MIG_STRATEGY=single", "MIG_STRATEGY=mixed"},
         "warning GFD_MIG_STRATEGY: differs from MIG_STRATEGY, which takes precedence"},
        {{NULL}, {"GFD_MIG_STRATEGY=single", "MIG_STRATEGY=single"}, ""},
        {{NULL},
         {"GFD_FAIL_ON_INIT_ERROR=true", "FAIL_ON_INIT_ERROR=false"},
         "warning GFD_FAIL_ON_INIT_ERROR: differs from FAIL_ON_INIT_ERROR, which takes precedence"},
        {{NULL},
         {"GFD_CONFIG_FILE=/a", "CONFIG_FILE=/b"},
         "warning GFD_CONFIG_FILE: differs from CONFIG_FILE, which takes precedence"},
        {{"--fail-on-init-error", "false"},
         {NULL},
         "error --fail-on-init-error: write --fail-on-init-error=false: a boolean flag takes its "
         "value "
         "only after '='"},
        {{"stray"}, {NULL}, "error 'stray' is not a flag; remove it, or write --NAME=VALUE"},
        {{"--", "x"},
         {NULL},
         "error '--' is not a flag; remove it, or write --NAME=VALUE\n"
         "error 'x' is not a flag; remove it, or write --NAME=VALUE"},
        {{"--kubeconfig=/k"}, {"NAMESPACE=x", "POD_NAME=y"}, ""},
        {{NULL},
         {"NAMESPACE=x", "POD_NAMESPACE=y"},
         "warning POD_NAMESPACE: differs from NAMESPACE, which takes precedence"},
        {{"--kube-api-qps=5"},
         {NULL},
         "warning --kube-api-qps: has no effect here: requests to the API server are always "
         "rate-limited"},
        {{"--fallback-strategies=named,only"},
         {NULL},
         "error --fallback-strategies: 'only' is not one of: named, single, empty"},
        {{"--fallback-strategies=named", "--fallback-strategies=single"}, {NULL}, ""},
        {{"--fallback-strategies=named, on ly"},
         {NULL},
         "error --fallback-strategies: 'on ly' is not one of: named, single, empty"},
        {{NULL},
         {"FALLBACK_STRATEGIES=named, ,single"},
         "error FALLBACK_STRATEGIES: '' is not one of: named, single, empty"},
        {{NULL}, {"FALLBACK_STRATEGIES=", "DEFAULT_CONFIG=", "NODE_NAME="}, ""},
        {{NULL},
         {"NODE_LABEL="},
         "error NODE_LABEL: must not be empty; the default is nvidia.com/device-plugin.config"},
        {{NULL},
         {"SEND_SIGNAL=true", "ONESHOT=true"},
         "warning SEND_SIGNAL: has no effect here: a new selection needs no signal\n"
         "warning ONESHOT: has no effect here: there is no config-manager to stop"},
        {{"--oneshot"},
         {NULL},
         "note --oneshot: the agent keeps running; the only effect here is that the output file is "
         "kept "
         "on exit"},
        {{NULL}, {"CDI_FEATURE_FLAGS="}, ""},
        {{NULL},
         {"CDI_FEATURE_FLAGS=x"},
         "warning CDI_FEATURE_FLAGS: has no effect here: CDI is generated "
         "without such switches"},
        {{"--device-list-strategy=envvar,cdi"},
         {NULL},
         "error --device-list-strategy: 'cdi' is not one of: envvar, volume-mounts, "
         "cdi-annotations, cdi-cri"},
        {{"--sleep-interval=60"},
         {NULL},
         "error --sleep-interval: the duration '60' needs units: "
         "h, m, s, ms, us or ns, as in 1m30s"},
        {{"--driver-deadline=0.1ms"},
         {NULL},
         "error --driver-deadline: '0.1ms' is outside 1ms "
         "... 1h"},
        {{"--http-address=19400"},
         {NULL},
         "error --http-address: expected an address such as "
         "127.0.0.1:19400, :19400 or nothing, got '19400'"},
        {{"--http-address=[::1]:19400"}, {NULL}, ""},
        {{"--http-address=:99999"},
         {NULL},
         "error --http-address: expected an address such as "
         "127.0.0.1:19400, :19400 or nothing, got ':99999'"},
        {{"--http-address=127.0.0.1:0"},
         {NULL},
         "error --http-address: expected an address such as "
         "127.0.0.1:19400, :19400 or nothing, got '127.0.0.1:0'"},
        {{"--http-address=foo:bar:80"},
         {NULL},
         "error --http-address: expected an address such as "
         "127.0.0.1:19400, :19400 or nothing, got 'foo:bar:80'"},
        {{"--imex-channel-ids=0,1"},
         {NULL},
         "error --imex-channel-ids: only channel 0 is supported; write 0 or nothing, not '0,1'"},
        {{"--log-level=warn"},
         {NULL},
         "error --log-level: 'warn' is not one of: debug, info, "
         "warning, error"},
        {{"--mig-strategy=a", "--nope", "b"},
         {"GDS_ENABLED=perhaps"},
         "error --nope: unknown flag; see --help\n" /* "b" may be its value */
         "error --mig-strategy: 'a' is not one of: none, single, mixed\n"
         "error GDS_ENABLED: expected true or false, got 'perhaps'"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct parsed s = parse(table[i].words, table[i].variables);
        cleanup_text struct text parsed = TEXT_INIT;

        for (size_t j = 0; j < s.problems.n_items; j++) {
            const struct problem *p = &s.problems.items[j];

            text_addf(&parsed, "%s%s %s%s%s", j ? "\n" : "", problem_severity_name(p->severity),
                      p->path, *p->path ? ": " : "", p->text);
        }
        assert_string_equal(text_string(&parsed), table[i].parsed);
        assert_int_equal(s.r, strstr(table[i].parsed, "error") == table[i].parsed ? -EINVAL : 0);
        release(&s);
    }
}

static void test_any_nonsense_is_survived(void **state)
{
    static const char *const words[] = {"-",   "=", "--=", "-=x", "--\n", "--mig-strategy=\x1b[31m",
                                        "---", "",  NULL};
    static const char *const variables[] = {"", "=", "MIG_STRATEGY", "=MIG_STRATEGY", NULL};
    struct parsed s = parse(words, variables);

    assert_int_equal(s.r, -EINVAL);
    for (size_t i = 0; i < s.problems.n_items; i++) {
        assert_null(strpbrk(s.problems.items[i].text, "\n\x1b"));
        assert_null(strpbrk(s.problems.items[i].path, "\n\x1b"));
    }
    release(&s);
}

static void test_help_fits_and_names_every_flag(void **state)
{
    char *help = NULL, *line, *rest;
    size_t size = 0;
    FILE *out = open_memstream(&help, &size);

    flags_help(out);
    fclose(out);
    assert_non_null(strstr(help, "--mig-strategy WORD"));
    assert_non_null(strstr(help, "--output-file, --output, -o PATH"));
    assert_non_null(strstr(help, "[MIG_STRATEGY,"));
    assert_non_null(strstr(help, "Default: distributed."));
    assert_non_null(strstr(help, "DP_DISABLE_HEALTHCHECKS=TEXT"));
    for (rest = help; (line = strsep(&rest, "\n"));)
        assert_true(strlen(line) <= 80);
    free(help);
}

static void check_info(const struct flag_info *info, void *context)
{
    size_t *n = context;

    (*n)++;
    assert_true(*info->flags || *info->variables);
    assert_true(strlen(info->flags) < sizeof(info->flags) - 1);
    assert_true(*info->help && info->help[strlen(info->help) - 1] != '.');
}

static void test_every_option_is_visited(void **state)
{
    size_t n = 0;

    flags_each(check_info, &n);
    assert_true(n > 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_spellings_of_a_flag),
        cmocka_unit_test(test_foreign_daemonset),
        cmocka_unit_test(test_blanks_in_lists),
        cmocka_unit_test(test_the_device_plugin_outranks_feature_discovery),
        cmocka_unit_test(test_what_only_the_program_uses),
        cmocka_unit_test(test_help_counts_beside_errors),
        cmocka_unit_test(test_each_fault_names_flag_or_variable),
        cmocka_unit_test(test_any_nonsense_is_survived),
        cmocka_unit_test(test_help_fits_and_names_every_flag),
        cmocka_unit_test(test_every_option_is_visited),
    };

    return cmocka_run_group_tests_name("config/flags", tests, NULL, NULL);
}
