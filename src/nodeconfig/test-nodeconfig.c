// SPDX-License-Identifier: Apache-2.0
#include "nodeconfig/nodeconfig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"

/* A folder of configurations, a state folder, and what would follow them. */
struct bed {
    uv_loop_t loop;
    char root[40], folder[64], state[64];
    struct agent_flags flags;
    struct nodeconfig *config;
    unsigned n_changes;
};

static void on_changed(void *userdata)
{
    ((struct bed *)userdata)->n_changes++;
}

static void put(const struct bed *bed, const char *name, const char *content)
{
    char path[160];

    snprintf(path, sizeof(path), "%s/%s", bed->folder, name);
    assert_int_equal(file_write_atomic(path, content, strlen(content), 0644, NULL), 0);
}

static int set_up(void **state)
{
    struct bed *bed = calloc(1, sizeof(*bed));

    log_setup(LOG_ERROR, LOG_LOGFMT);
    snprintf(bed->root, sizeof(bed->root), "/tmp/nodeconfig-XXXXXX");
    assert_non_null(mkdtemp(bed->root));
    snprintf(bed->folder, sizeof(bed->folder), "%s/configs", bed->root);
    snprintf(bed->state, sizeof(bed->state), "%s/state", bed->root);
    assert_int_equal(mkdir(bed->folder, 0755), 0);
    uv_loop_init(&bed->loop);
    bed->flags = (struct agent_flags){.config_folder = bed->folder,
                                      .state_dir = bed->state,
                                      .node_label = "config",
                                      .node_name = "gpu-1",
                                      .fallback_strategies = "named"};
    *state = bed;
    return 0;
}

static void start(struct bed *bed)
{
    assert_int_equal(nodeconfig_new(&bed->loop, &bed->flags, on_changed, bed, &bed->config, NULL),
                     0);
}

static void stop(struct bed *bed)
{
    nodeconfig_free(TAKE_PTR(bed->config));
    uv_run(&bed->loop, UV_RUN_DEFAULT);
}

static int tear_down(void **state)
{
    struct bed *bed = *state;
    char command[80];

    stop(bed);
    assert_int_equal(uv_loop_close(&bed->loop), 0);
    snprintf(command, sizeof(command), "rm -r %s", bed->root);
    assert_int_equal(system(command), 0);
    free(bed);
    return 0;
}

static void set_label(struct bed *bed, const char *value)
{
    nodeconfig_node(bed->config, &(struct nodeconfig_node){.label = value});
}

static void await_change(struct bed *bed)
{
    const unsigned before = bed->n_changes;

    while (bed->n_changes == before)
        uv_run(&bed->loop, UV_RUN_ONCE);
}

static void assert_path(const struct bed *bed, const char *name)
{
    const char *path = nodeconfig_path(bed->config);

    assert_string_equal(nodeconfig_problem(bed->config), "");
    assert_true(str_starts_with(path, bed->folder));
    assert_string_equal(path + strlen(bed->folder) + 1, name);
}

static void test_the_label_is_waited_for_and_remembered(void **state)
{
    struct bed *bed = *state;

    put(bed, "default", "");
    put(bed, "a", "");
    start(bed);
    assert_true(nodeconfig_is_waiting(bed->config));
    assert_false(nodeconfig_is_missing(bed->config));
    set_label(bed, "a");
    await_change(bed);
    assert_false(nodeconfig_is_waiting(bed->config));
    assert_path(bed, "a");
    stop(bed);
    start(bed);
    assert_path(bed, "a"); /* at once, without news */
    set_label(bed, NULL);
    await_change(bed);
    assert_path(bed, "default");
    stop(bed);
    start(bed); /* that it does not have the label is remembered too */
    assert_path(bed, "default");
}

static void test_the_same_news_again_change_nothing(void **state)
{
    struct bed *bed = *state;

    put(bed, "a", "");
    start(bed);
    set_label(bed, "a");
    await_change(bed);
    for (int i = 0; i < 3; i++) {
        set_label(bed, "a");
        nodeconfig_check(bed->config);
        uv_run(&bed->loop, UV_RUN_NOWAIT);
    }
    assert_int_equal(bed->n_changes, 1);
}

static void test_trouble_comes_and_goes(void **state)
{
    struct bed *bed = *state;

    put(bed, "a", "");
    start(bed);
    set_label(bed, "a");
    await_change(bed);
    set_label(bed, "b");
    await_change(bed);
    assert_non_null(strstr(nodeconfig_problem(bed->config), "'b', which is none of: a"));
    assert_null(nodeconfig_fallback(bed->config, 1)); /* no file 'default' */
    put(bed, "default", "");
    await_change(bed); /* the sentence names what there is */
    assert_non_null(strstr(nodeconfig_fallback(bed->config, 1), "/default"));
    put(bed, "b", "");
    await_change(bed);
    assert_path(bed, "b");
}

static void test_what_was_taken_last_stands_in_after_a_restart(void **state)
{
    struct bed *bed = *state;

    put(bed, "a", "");
    put(bed, "default", "");
    start(bed);
    set_label(bed, "a");
    await_change(bed);
    nodeconfig_applied(bed->config);
    set_label(bed, "b");
    await_change(bed);
    stop(bed);
    start(bed);
    assert_true(*nodeconfig_problem(bed->config));
    assert_true(str_ends_with(nodeconfig_fallback(bed->config, 0), "/a"));
    assert_true(str_ends_with(nodeconfig_fallback(bed->config, 1), "/default"));
}

static void test_a_fallback_in_force_is_watched(void **state)
{
    struct bed *bed = *state;
    const char *path;

    put(bed, "default", "");
    start(bed);
    set_label(bed, "b"); /* there is none, and that stays so */
    await_change(bed);
    path = nodeconfig_fallback(bed->config, 1);
    assert_non_null(path);
    nodeconfig_fell_back(bed->config, path);
    nodeconfig_fell_back(bed->config, path);
    put(bed, "default", "version: v1\n");
    await_change(bed);
    put(bed, "b", "");
    await_change(bed);
    nodeconfig_applied(bed->config);
    assert_path(bed, "b");
}

static void test_an_empty_folder_is_waited_for_once(void **state)
{
    struct bed *bed = *state;

    bed->flags.node_name = NULL; /* nobody tells a label */
    start(bed);
    assert_true(nodeconfig_is_waiting(bed->config) && nodeconfig_is_missing(bed->config));
    put(bed, "default", "");
    await_change(bed);
    assert_path(bed, "default");
    put(bed, "..2026", ""); /* the volume's own */
    unlink(nodeconfig_path(bed->config));
    while (!*nodeconfig_problem(bed->config))
        await_change(bed);
    assert_false(nodeconfig_is_waiting(bed->config));
    assert_non_null(strstr(nodeconfig_problem(bed->config), "contains no configuration"));
}

static void test_a_single_file_needs_no_label(void **state)
{
    struct bed *bed = *state;

    bed->flags.config_folder = bed->flags.node_name = NULL;
    start(bed);
    assert_string_equal(nodeconfig_path(bed->config), "");
    stop(bed);
    bed->flags.config_file = "/nowhere/config.yaml";
    start(bed);
    set_label(bed, "a");
    assert_false(nodeconfig_is_waiting(bed->config));
    assert_string_equal(nodeconfig_path(bed->config), "/nowhere/config.yaml");
    assert_null(nodeconfig_fallback(bed->config, 0));
    assert_null(nodeconfig_fallback(bed->config, 1));
}

/* --- slice profiles --- */

#define QUARTERS "version: v1\nsharing: {timeSlicing: {resources: [{name: gpu, replicas: 4}]}}\n"

static void set_profile(struct bed *bed, const char *label, const char *name, const char *text)
{
    nodeconfig_node(bed->config, &(struct nodeconfig_node){label, name, text});
}

static void assert_follows_profile(const struct bed *bed, const char *text)
{
    cleanup_free char *data = NULL;
    size_t size;

    assert_string_equal(nodeconfig_problem(bed->config), "");
    assert_true(str_starts_with(nodeconfig_path(bed->config), bed->state));
    assert_int_equal(file_read(nodeconfig_path(bed->config), 4096, &data, &size, NULL), 0);
    assert_true(str_ends_with(data, text));
    assert_null(nodeconfig_fallback(bed->config, 0));
    assert_null(nodeconfig_fallback(bed->config, 1));
}

/* Nothing else is in force before: a node offers what Karpenter expects, or nothing. */
static void test_a_profile_is_waited_for_and_remembered(void **state)
{
    struct bed *bed = *state;

    put(bed, "default", "");
    start(bed);
    assert_true(nodeconfig_is_waiting(bed->config));
    set_profile(bed, NULL, "quarters", NULL);
    await_change(bed);
    assert_true(nodeconfig_is_waiting(bed->config) && nodeconfig_is_missing(bed->config));
    assert_non_null(strstr(nodeconfig_problem(bed->config), "'quarters', and the annotation"));
    set_profile(bed, NULL, "quarters", QUARTERS);
    await_change(bed);
    assert_false(nodeconfig_is_waiting(bed->config));
    assert_follows_profile(bed, QUARTERS);
    nodeconfig_applied(bed->config);
    stop(bed);
    start(bed);
    assert_follows_profile(bed, QUARTERS);
    set_profile(bed, NULL, NULL, QUARTERS); /* the label makes it the node's */
    await_change(bed);
    assert_path(bed, "default");
    stop(bed);
    start(bed);
    assert_path(bed, "default");
}

static void test_a_profile_needs_no_folder(void **state)
{
    struct bed *bed = *state;

    bed->flags.config_folder = NULL;
    bed->flags.config_file = "/nowhere/config.yaml";
    start(bed);
    assert_true(nodeconfig_is_waiting(bed->config));
    set_profile(bed, NULL, "quarters", QUARTERS);
    await_change(bed);
    assert_follows_profile(bed, QUARTERS);
    set_profile(bed, NULL, "quarters", QUARTERS "# changed in place\n");
    await_change(bed);
    assert_follows_profile(bed, "# changed in place\n");
    set_profile(bed, NULL, NULL, NULL);
    await_change(bed);
    assert_string_equal(nodeconfig_path(bed->config), "/nowhere/config.yaml");
}

static void test_what_outranks_what_is_said(void **state)
{
    struct bed *bed = *state;

    put(bed, "default", "");
    put(bed, "a", "");
    start(bed);
    set_profile(bed, "a", "quarters", QUARTERS);
    await_change(bed);
    assert_path(bed, "a");
    assert_non_null(strstr(nodeconfig_outranked(bed->config), "label config selects"));
    assert_non_null(strstr(nodeconfig_outranked(bed->config), "profile 'quarters'"));
    set_profile(bed, NULL, "quarters", QUARTERS);
    await_change(bed);
    assert_follows_profile(bed, QUARTERS);
    assert_string_equal(nodeconfig_outranked(bed->config), "");
    set_profile(bed, NULL, "halves", NULL); /* what is in force stays */
    await_change(bed);
    assert_false(nodeconfig_is_waiting(bed->config));
    assert_non_null(strstr(nodeconfig_problem(bed->config), "'halves', and the annotation"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_label_is_waited_for_and_remembered, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_the_same_news_again_change_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_trouble_comes_and_goes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_was_taken_last_stands_in_after_a_restart, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_fallback_in_force_is_watched, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_empty_folder_is_waited_for_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_single_file_needs_no_label, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_profile_is_waited_for_and_remembered, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_profile_needs_no_folder, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_outranks_what_is_said, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("nodeconfig/nodeconfig", tests, NULL, NULL);
}
