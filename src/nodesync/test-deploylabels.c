// SPDX-License-Identifier: Apache-2.0
#include "nodesync/deploylabels.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/array.h"

/* One label, and what becomes of it; NULL: it stays, or is not there. */
static void assert_becomes(const char *key, const char *value, bool pauses, const char *expected)
{
    json_t *node = json_pack("{s:{s:{s:s,s:s*}}}", "metadata", "labels", "other", "x", key, value);
    json_t *operations = NULL;
    int r = deploylabels_plan(node, pauses, &operations);

    assert_non_null(node);
    if (!expected) {
        assert_int_equal(r, DEPLOYLABELS_AS_WANTED);
    } else {
        const json_t *test = json_array_get(operations, 0), *change = json_array_get(operations, 1);

        assert_int_equal(r, 0);
        assert_int_equal(json_array_size(operations), 2);
        assert_string_equal(json_string_value(json_object_get(test, "op")), "test");
        assert_string_equal(json_string_value(json_object_get(test, "value")), value);
        assert_string_equal(json_string_value(json_object_get(change, "value")), expected);
        assert_string_equal(json_string_value(json_object_get(change, "path")),
                            "/metadata/labels/nvidia.com~1gpu.deploy.dcgm");
    }
    json_decref(operations);
    json_decref(node);
}

static void only_what_runs_is_paused(void **state)
{
    static const struct {
        const char *value;
        bool pauses;
        const char *expected;
    } rows[] = {
        {"true", true, "paused-for-mig-change"},
        {"paused-for-mig-change", true, NULL},
        {"false", true, NULL},
        {"", true, NULL},
        {NULL, true, NULL},
        {"paused-for-mig-change", false, "true"},
        {"true", false, NULL},
        {"false", false, NULL},
        {"paused-for-driver-upgrade", false, NULL},
        {NULL, false, NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        assert_becomes("nvidia.com/gpu.deploy.dcgm", rows[i].value, rows[i].pauses,
                       rows[i].expected);
    assert_becomes("nvidia.com/gpu.deploy.device-plugin", "true", true, NULL);
}

static void all_of_them_are_changed_at_once(void **state)
{
    json_t *node = json_pack(
        "{s:{s:{s:s,s:s,s:s}}}", "metadata", "labels", "nvidia.com/gpu.deploy.dcgm", "true",
        "nvidia.com/gpu.deploy.dcgm-exporter", "true", "nvidia.com/gpu.deploy.nvsm", "true");
    json_t *operations = NULL;

    (void)state;
    assert_int_equal(deploylabels_plan(node, true, &operations), 0);
    assert_int_equal(json_array_size(operations), 6);
    json_decref(operations);
    json_decref(node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_runs_is_paused),
        cmocka_unit_test(all_of_them_are_changed_at_once),
    };

    return cmocka_run_group_tests_name("nodesync/deploylabels", tests, NULL, NULL);
}
