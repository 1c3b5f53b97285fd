// SPDX-License-Identifier: Apache-2.0
#include "nodeconfig/nodeprofile.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"

static char folder[40], state[60];

static int set_up(void **unused)
{
    (void)unused;
    log_setup(LOG_ERROR, LOG_LOGFMT);
    snprintf(folder, sizeof(folder), "/tmp/nodeprofile-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(state, sizeof(state), "%s/state", folder);
    return 0;
}

static int tear_down(void **unused)
{
    char command[60];

    (void)unused;
    snprintf(command, sizeof(command), "rm -r %s", folder);
    return system(command);
}

static void it_is_remembered(void **unused)
{
    struct nodeprofile profile;

    (void)unused;
    nodeprofile_init(&profile, state);
    assert_null(profile.name);
    assert_false(nodeprofile_set(&profile, "", "version: v1"));
    assert_true(nodeprofile_set(&profile, "p", "version: v1\n"));
    assert_false(nodeprofile_set(&profile, "p", "version: v1\n"));
    nodeprofile_deinit(&profile);
    nodeprofile_init(&profile, state);
    assert_string_equal(profile.name, "p");
    assert_string_equal(profile.text, "version: v1\n");
    assert_true(nodeprofile_set(&profile, "p", NULL));
    nodeprofile_deinit(&profile);
    nodeprofile_init(&profile, state);
    assert_string_equal(profile.name, "p");
    assert_null(profile.text);
    assert_int_equal(nodeprofile_check(&profile, NULL), -ENODATA);
    assert_true(nodeprofile_set(&profile, NULL, NULL));
    nodeprofile_deinit(&profile);
    nodeprofile_init(&profile, state);
    assert_null(profile.name);
    assert_int_equal(file_write_atomic(profile.path, "x", 1, 0600, NULL), 0);
    nodeprofile_deinit(&profile);
    nodeprofile_init(&profile, state); /* not ours: none */
    assert_null(profile.name);
    nodeprofile_deinit(&profile);
}

/* Who may annotate a Node decides about slices, not about what the agent loads. */
static void it_is_about_slices_alone(void **unused)
{
    static const struct {
        const char *text, *says; /* NULL = taken */
    } rows[] = {
        {"version: v1\nsharing: {timeSlicing: {resources: [{name: gpu, replicas: 4}]}}\n", NULL},
        {"version: v1\nflags: {migStrategy: mixed}\ngpuslice: {mig: {layout: all-1g.5gb}}\n", NULL},
        {"version: v1\nflags: {nvidiaDriverRoot: /tmp/evil}\n", "has 'nvidiaDriverRoot', which"},
        {"version: v1\nFlags: {migStrategy: mixed}\n", "has 'Flags', which is not about slices"},
        {"flags: {plugin: {containerDriverRoot: /tmp}}\n", "has 'plugin'"},
        {"x: &x {nvidiaDriverRoot: /tmp}\nflags: *x\n", "has 'x'"},
        {"flags: [nvidiaDriverRoot]\n", "has 'a list'"},
        {"gpuslice: {taints: [{key: a, effect: NoExecute}]}\n", "has 'taints'"},
        {"apiVersion: v1\nkind: ConfigMap\ndata: {a: \"\"}\n", "has 'apiVersion'"},
        {"version: v1\n---\nversion: v1\n", "is no configuration of the agent"},
        {"all-1g.5gb", "is no configuration of the agent"},
        {"a: b: c", "is no YAML"},
    };

    (void)unused;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct nodeprofile profile = {.name = NULL};
        struct error err = ERROR_INIT;
        int r;

        nodeprofile_init(&profile, state);
        nodeprofile_set(&profile, "p", rows[i].text);
        r = nodeprofile_check(&profile, &err);
        if (r != (rows[i].says ? -EINVAL : 0) ||
            (rows[i].says && !strstr(error_text(&err), rows[i].says)))
            fail_msg("row %zu: %d '%s'", i, r, error_text(&err));
        nodeprofile_deinit(&profile);
    }
}

/* The file of the profile before is not taken for that of this one. */
static void it_cannot_be_written(void **unused)
{
    struct nodeprofile profile;
    struct error err = ERROR_INIT;
    char aside[80];

    (void)unused;
    snprintf(aside, sizeof(aside), "%s/aside", folder);
    nodeprofile_init(&profile, state);
    assert_true(nodeprofile_set(&profile, "before", "version: v1\n"));
    assert_int_equal(rename(state, aside), 0);
    assert_int_equal(file_write_atomic(state, "x", 1, 0600, NULL), 0); /* no folder any more */
    assert_true(nodeprofile_set(&profile, "p", "version: v1\n"));
    assert_int_equal(nodeprofile_check(&profile, &err), -EIO);
    assert_non_null(strstr(error_text(&err), "cannot be written"));
    assert_int_equal(unlink(state), 0);
    assert_int_equal(rename(aside, state), 0);
    assert_true(nodeprofile_set(&profile, "p", "version: v1\n")); /* the same, again */
    assert_int_equal(nodeprofile_check(&profile, NULL), 0);
    assert_false(nodeprofile_set(&profile, "p", "version: v1\n"));
    nodeprofile_deinit(&profile);
    nodeprofile_init(&profile, state);
    assert_string_equal(profile.name, "p");
    nodeprofile_deinit(&profile);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_is_remembered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_cannot_be_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_is_about_slices_alone, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("nodeconfig/nodeprofile", tests, NULL, NULL);
}
