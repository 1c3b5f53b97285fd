// SPDX-License-Identifier: Apache-2.0
#include "nodesync/condition.h"
#include "nodesync/node.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "kube/managedfields.h"

#define NOW_TEXT "2026-01-31T23:59:59Z"
enum { NOW = 1769903999 };

static json_t *node_with(const char *status, const char *reason, const char *manager)
{
    json_t *node = json_pack(
        "{s:{s:s,s:[{s:s,s:s,s:s,s:{s:{s:{s:{}}}}}]},s:{s:[{s:s,s:s},{s:s,s:s,s:s,s:s,s:s}]}}",
        "metadata", "uid", "u", "managedFields", "manager", manager, "operation", "Apply",
        "subresource", "status", "fieldsV1", "f:status", "f:conditions",
        "k:{\"type\":\"GPUSlicesReady\"}", "status", "conditions", "type", "Ready", "status",
        "True", "type", CONDITION_TYPE, "status", status, "reason", reason, "message", "m",
        "lastTransitionTime", "2020-01-01T00:00:00Z");

    assert_non_null(node);
    return node;
}

static json_t *plan(json_t *node, bool ready, const char *reason)
{
    struct sync_state state = {.has_condition = true,
                               .ready = ready,
                               .reason = (char *)(uintptr_t)reason,
                               .message = (char *)(uintptr_t) "m"};
    json_t *object = NULL;
    int r = condition_plan(node, "n", &state, NOW, &object);

    assert_true(r == 0 || r == CONDITION_AS_WANTED);
    return object;
}

static const char *applied(const json_t *object, const char *key)
{
    const json_t *conditions = json_object_get(json_object_get(object, "status"), "conditions");

    assert_int_equal(json_array_size(conditions), 1);
    return json_string_value(json_object_get(json_array_get(conditions, 0), key));
}

static void is_written_on_a_change_only(void **state)
{
    static const struct {
        bool ready;
        const char *reason, *since; /* NULL = nothing to write */
    } rows[] = {
        {true, "Fine", NULL},
        {true, "Finer", "2020-01-01T00:00:00Z"},
        {false, "Fine", NOW_TEXT},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        json_t *node = node_with("True", "Fine", NODE_MANAGER);
        json_t *object = plan(node, rows[i].ready, rows[i].reason);

        assert_int_equal(object != NULL, rows[i].since != NULL);
        if (object) {
            assert_string_equal(applied(object, "lastTransitionTime"), rows[i].since);
            assert_string_equal(applied(object, "lastHeartbeatTime"), NOW_TEXT);
            assert_string_equal(applied(object, "status"), rows[i].ready ? "True" : "False");
        }
        json_decref(object);
        json_decref(node);
    }
}

static void is_written_first(void **state)
{
    json_t *node = json_object();
    json_t *object = plan(node, false, "Starting");

    assert_string_equal(applied(object, "lastTransitionTime"), NOW_TEXT);
    json_decref(object);
    json_decref(node);
}

static void goes_away_when_it_is_ours(void **state)
{
    static const char *const managers[] = {NODE_MANAGER, "stranger"};
    const struct sync_state none = {.has_condition = false};

    for (size_t i = 0; i < ARRAY_SIZE(managers); i++) {
        json_t *node = node_with("True", "Fine", managers[i]), *object = NULL;

        assert_int_equal(condition_plan(node, "n", &none, NOW, &object),
                         i ? CONDITION_AS_WANTED : 0);
        json_decref(object);
        json_decref(node);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_written_on_a_change_only),
        cmocka_unit_test(is_written_first),
        cmocka_unit_test(goes_away_when_it_is_ours),
    };

    return cmocka_run_group_tests_name("nodesync/condition", tests, NULL, NULL);
}
