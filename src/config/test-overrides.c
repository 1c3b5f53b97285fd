// SPDX-License-Identifier: Apache-2.0
#include "config/overrides.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"
#include "config/flags.h"
#include "config/load.h"

static struct config *load_with(const char *file, const char *variable, const char *flag)
{
    char program[] = "gpuslice-node";
    char *argv[] = {program, (char *)(uintptr_t)flag, NULL};
    char *envp[] = {(char *)(uintptr_t)variable, NULL};
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    struct config_overrides *overrides = NULL;
    struct agent_flags flags;
    struct config *config = NULL;

    assert_int_equal(flags_parse(flag ? 2 : 1, argv, envp, &flags, &overrides, &problems), 0);
    assert_int_equal(config_parse(file, strlen(file),
                                  &(struct config_request){.source = "x.yaml",
                                                           .strictness = CONFIG_AGENT,
                                                           .overrides = overrides},
                                  &problems, &config, NULL),
                     0);
    config_overrides_free(overrides);
    return config;
}

enum { AT_FILE = 1, AT_VARIABLE = 2, AT_FLAG = 4 };

/* Each option once: its values in file, variable and flag, and how the winner is shown. */
struct precedence {
    const char *path, *variable, *flag;
    const char *values[4]; /* default, file, variable, flag */
    size_t offset;
    enum { SHOW_BOOL, SHOW_TEXT, SHOW_UNSIGNED, SHOW_NS } show;
    const char *shown[4]; /* if different from the value */
};

#define IN(member) offsetof(struct config, member)

static const struct precedence precedence_rows[] = {
    {"flags.failOnInitError",
     "FAIL_ON_INIT_ERROR",
     "--fail-on-init-error",
     {"true", "false", "true", "false"},
     IN(fail_on_init_error),
     SHOW_BOOL,
     {NULL}},
    {"flags.gdsEnabled",
     "GDS_ENABLED",
     "--gds-enabled",
     {"false", "true", "false", "true"},
     IN(gds_enabled),
     SHOW_BOOL,
     {NULL}},
    {"flags.gdrcopyEnabled",
     "GDRCOPY_ENABLED",
     "--gdrcopy-enabled",
     {"false", "true", "false", "true"},
     IN(gdrcopy_enabled),
     SHOW_BOOL,
     {NULL}},
    {"flags.mofedEnabled",
     "MOFED_ENABLED",
     "--mofed-enabled",
     {"false", "true", "false", "true"},
     IN(mofed_enabled),
     SHOW_BOOL,
     {NULL}},
    {"flags.useNodeFeatureAPI",
     "USE_NODE_FEATURE_API",
     "--use-node-feature-api",
     {"true", "false", "true", "false"},
     IN(use_node_feature_api),
     SHOW_BOOL,
     {NULL}},
    {"flags.plugin.passDeviceSpecs",
     "PASS_DEVICE_SPECS",
     "--pass-device-specs",
     {"false", "true", "false", "true"},
     IN(plugin.pass_device_specs),
     SHOW_BOOL,
     {NULL}},
    {"flags.gfd.oneshot",
     "GFD_ONESHOT",
     "--oneshot",
     {"false", "true", "false", "true"},
     IN(gfd.oneshot),
     SHOW_BOOL,
     {NULL}},
    {"flags.gfd.noTimestamp",
     "GFD_NO_TIMESTAMP",
     "--no-timestamp",
     {"", "true", "false", "true"},
     IN(gfd.no_timestamp),
     SHOW_UNSIGNED,
     {"0", "2", "1", "2"}},
    {"imex.required",
     "IMEX_REQUIRED",
     "--imex-required",
     {"false", "true", "false", "true"},
     IN(imex_required),
     SHOW_BOOL,
     {NULL}},
    {"flags.mpsRoot",
     "MPS_ROOT",
     "--mps-root",
     {"", "/file", "/variable", "/flag"},
     IN(mps_root),
     SHOW_TEXT,
     {NULL}},
    {"flags.nvidiaDriverRoot",
     "NVIDIA_DRIVER_ROOT",
     "--driver-root",
     {"/", "/file", "/variable", "/flag"},
     IN(driver_root),
     SHOW_TEXT,
     {NULL}},
    {"flags.nvidiaDevRoot",
     "NVIDIA_DEV_ROOT",
     "--dev-root",
     {"/", "/file", "/variable", "/flag"},
     IN(dev_root),
     SHOW_TEXT,
     {NULL}},
    {"flags.plugin.cdiAnnotationPrefix",
     "CDI_ANNOTATION_PREFIX",
     "--cdi-annotation-prefix",
     {"cdi.k8s.io/", "f/", "v/", "g/"},
     IN(plugin.cdi_annotation_prefix),
     SHOW_TEXT,
     {NULL}},
    {"flags.plugin.nvidiaCTKPath",
     "NVIDIA_CTK_PATH",
     "--nvidia-ctk-path",
     {"/usr/bin/nvidia-ctk", "/f", "/v", "/g"},
     IN(plugin.nvidia_cdi_hook_path),
     SHOW_TEXT,
     {NULL}},
    {"flags.plugin.containerDriverRoot",
     "CONTAINER_DRIVER_ROOT",
     "--driver-root-ctr-path",
     {"/driver-root", "/f", "/v", "/g"},
     IN(plugin.container_driver_root),
     SHOW_TEXT,
     {NULL}},
    {"flags.gfd.outputFile",
     "GFD_OUTPUT_FILE",
     "-o",
     {"", "/f", "", "/g"},
     IN(gfd.output_file),
     SHOW_TEXT,
     {"(not given)", "/f", "", "/g"}},
    {"flags.gfd.machineTypeFile",
     "GFD_MACHINE_TYPE_FILE",
     "--machine-type-file",
     {"/sys/class/dmi/id/product_name", "/f", "/v", "/g"},
     IN(gfd.machine_type_file),
     SHOW_TEXT,
     {NULL}},
    {"flags.migStrategy",
     "MIG_STRATEGY",
     "--mig-strategy",
     {"none", "single", "mixed", "none"},
     IN(policy.mig_strategy),
     SHOW_UNSIGNED,
     {"0", "1", "2", "0"}},
    {"flags.deviceDiscoveryStrategy",
     "DEVICE_DISCOVERY_STRATEGY",
     "--device-discovery-strategy",
     {"auto", "nvml", "tegra", "vfio"},
     IN(discovery_strategy),
     SHOW_UNSIGNED,
     {"0", "1", "2", "3"}},
    {"flags.plugin.deviceListStrategy",
     "DEVICE_LIST_STRATEGY",
     "--device-list-strategy",
     {"envvar", "cdi-cri", "envvar,cdi-cri", "volume-mounts"},
     IN(plugin.device_list_strategies),
     SHOW_UNSIGNED,
     {"1", "8", "9", "2"}},
    {"flags.plugin.deviceIDStrategy",
     "DEVICE_ID_STRATEGY",
     "--device-id-strategy",
     {"uuid", "index", "uuid", "index"},
     IN(plugin.device_id_strategy),
     SHOW_UNSIGNED,
     {"0", "1", "0", "1"}},
    {"flags.plugin.sharedDevicesAllocationPolicy",
     "SHARED_DEVICES_ALLOCATION_POLICY",
     "--shared-devices-allocation-policy",
     {"distributed", "packed", "distributed", "packed"},
     IN(plugin.allocation_policy),
     SHOW_UNSIGNED,
     {"0", "1", "0", "1"}},
    {"flags.gfd.sleepInterval",
     "GFD_SLEEP_INTERVAL",
     "--sleep-interval",
     {"60s", "1s", "2s", "infinite"},
     IN(gfd.sleep_interval_ns),
     SHOW_NS,
     {"60000000000", "1000000000", "2000000000", "18446744073709551615"}},
    {"imex.channelIDs",
     "IMEX_CHANNEL_IDS",
     "--imex-channel-ids",
     {"", "[0]", "", "0"},
     IN(n_imex_channel_ids),
     SHOW_NS,
     {"0", "1", "0", "1"}},
};

/* "flags.plugin.x", "v" -> "{flags: {plugin: {x: v}}}" */
static void write_file(const char *path, const char *value, struct text *file)
{
    size_t depth = 1;

    text_add(file, "{");
    for (; *path; path++) {
        if (*path == '.')
            text_add(file, ": {");
        else
            text_add_char(file, *path);
        depth += *path == '.';
    }
    text_addf(file, ": %s", value);
    while (depth--)
        text_add(file, "}");
}

static void show_value(const struct precedence *row, const struct config *config, char *buffer,
                       size_t size)
{
    const void *slot = (const char *)config + row->offset;

    if (row->show == SHOW_BOOL)
        snprintf(buffer, size, "%s", *(const bool *)slot ? "true" : "false");
    else if (row->show == SHOW_TEXT)
        snprintf(buffer, size, "%s", *(char *const *)slot ? *(char *const *)slot : "(not given)");
    else if (row->show == SHOW_UNSIGNED)
        snprintf(buffer, size, "%u", *(const unsigned *)slot);
    else
        snprintf(buffer, size, "%llu", (unsigned long long)*(const uint64_t *)slot);
}

static void check_precedence(const struct precedence *row, unsigned set_at)
{
    cleanup_text struct text file = TEXT_INIT, variable = TEXT_INIT, flag = TEXT_INIT;
    size_t winner = set_at & AT_FLAG ? 3 : set_at & AT_VARIABLE ? 2 : set_at & AT_FILE ? 1 : 0;
    const char *wanted = row->shown[winner] ? row->shown[winner] : row->values[winner];
    struct config *config;
    char shown[128];

    if (set_at & AT_FILE)
        write_file(row->path, row->values[1], &file);
    text_addf(&variable, "%s=%s", set_at & AT_VARIABLE ? row->variable : "UNRELATED",
              row->values[2]);
    text_addf(&flag, "%s=%s", row->flag, row->values[3]);
    config = load_with(text_string(&file), text_string(&variable),
                       set_at & AT_FLAG ? text_string(&flag) : NULL);
    show_value(row, config, shown, sizeof(shown));
    if (!str_equal(shown, wanted))
        fail_msg("%s: set at %u gives '%s', not '%s'", row->path, set_at, shown, wanted);
    config_free(config);
}

static void test_flag_over_variable_over_file_over_default(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(precedence_rows); i++)
        for (unsigned set_at = 0; set_at < 8; set_at++)
            check_precedence(&precedence_rows[i], set_at);
}

static void test_several_apply_at_once(void **state)
{
    char program[] = "gpuslice-node", flag[] = "--mig-strategy=mixed";
    char variable[] = "DEVICE_ID_STRATEGY=index", *argv[] = {program, flag, NULL};
    char *envp[] = {variable, NULL};
    const char *file =
        "flags: {migStrategy: single, plugin: {deviceIDStrategy: uuid}, gdsEnabled: true}";
    struct config_overrides *overrides = NULL;
    struct config *config = NULL;
    struct agent_flags flags;

    assert_int_equal(flags_parse(2, argv, envp, &flags, &overrides, NULL), 0);
    for (int i = 0; i < 2; i++) { /* every reload applies them again */
        assert_int_equal(config_parse(file, strlen(file),
                                      &(struct config_request){.strictness = CONFIG_AGENT,
                                                               .overrides = overrides},
                                      NULL, &config, NULL),
                         0);
        assert_int_equal(config->policy.mig_strategy, MIG_STRATEGY_MIXED);
        assert_int_equal(config->policy.mig_strategy_at.line, 0); /* not the file's value */
        assert_int_equal(config->plugin.device_id_strategy, DEVICE_ID_INDEX);
        assert_true(config->gds_enabled);
        config_free(config);
    }
    config_overrides_free(overrides);
}

/* As for the node of a slice profile. */
static void test_a_file_that_decides_slices(void **state)
{
    char program[] = "gpuslice-node", flag[] = "--mig-strategy=single";
    char variable[] = "DEVICE_ID_STRATEGY=index", *argv[] = {program, flag, NULL};
    char *envp[] = {variable, NULL};
    const char *file = "flags: {migStrategy: mixed, plugin: {deviceIDStrategy: uuid}}";
    struct config_overrides *overrides = NULL;
    struct config *config = NULL;
    struct agent_flags flags;

    assert_int_equal(flags_parse(2, argv, envp, &flags, &overrides, NULL), 0);
    assert_int_equal(config_parse(file, strlen(file),
                                  &(struct config_request){.strictness = CONFIG_AGENT,
                                                           .overrides = overrides,
                                                           .decides_slices = true},
                                  NULL, &config, NULL),
                     0);
    assert_int_equal(config->policy.mig_strategy, MIG_STRATEGY_MIXED);
    assert_int_equal(config->policy.mig_strategy_at.line, 1);
    assert_int_equal(config->plugin.device_id_strategy, DEVICE_ID_INDEX);
    config_free(config);
    config_overrides_free(overrides);
}

static void test_rules_across_options_see_the_winner(void **state)
{
    char program[] = "gpuslice-node", flag[] = "--mig-strategy=mixed",
         *argv[] = {program, flag, NULL};
    const char *file = "flags: {migStrategy: none, mpsRoot: /mps}\n"
                       "sharing: {mps: {resources: [{name: gpu, replicas: 2}]}}\n";
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    struct config_overrides *overrides = NULL;
    struct config *config = NULL;
    struct agent_flags flags;

    assert_int_equal(flags_parse(2, argv, NULL, &flags, &overrides, NULL), 0);
    assert_int_equal(
        config_parse(file, strlen(file),
                     &(struct config_request){.strictness = CONFIG_AGENT, .overrides = overrides},
                     &problems, &config, NULL),
        -EBADMSG);
    assert_non_null(strstr(problems.items[0].text, "MPS cannot share MIG devices"));
    config_overrides_free(overrides);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flag_over_variable_over_file_over_default),
        cmocka_unit_test(test_several_apply_at_once),
        cmocka_unit_test(test_a_file_that_decides_slices),
        cmocka_unit_test(test_rules_across_options_see_the_winner),
    };

    return cmocka_run_group_tests_name("config/overrides", tests, NULL, NULL);
}
