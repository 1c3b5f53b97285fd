// SPDX-License-Identifier: Apache-2.0
#include "karpenter/requirement.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/array.h"

static void test_operators(void **state)
{
    static const struct {
        const char *requirement;
        bool is_met;
    } rows[] = {
        {"{'key': 'a', 'operator': 'In', 'values': ['x', 'y']}", true},
        {"{'key': 'a', 'operator': 'In', 'values': ['z']}", false},
        {"{'key': 'c', 'operator': 'In', 'values': ['x']}", false},
        {"{'key': 'a', 'operator': 'NotIn', 'values': ['x']}", false},
        {"{'key': 'c', 'operator': 'NotIn', 'values': ['x']}", true},
        {"{'key': 'a', 'operator': 'Exists'}", true},
        {"{'key': 'c', 'operator': 'Exists'}", false},
        {"{'key': 'c', 'operator': 'DoesNotExist'}", true},
        {"{'key': 'n', 'operator': 'Gt', 'values': ['3']}", true},
        {"{'key': 'n', 'operator': 'Gt', 'values': ['4']}", false},
        {"{'key': 'n', 'operator': 'Gte', 'values': ['4']}", true},
        {"{'key': 'n', 'operator': 'Lt', 'values': ['5']}", true},
        {"{'key': 'n', 'operator': 'Lte', 'values': ['3']}", false},
        {"{'key': 'a', 'operator': 'Gt', 'values': ['3']}", false},
        {"{'key': 'c', 'operator': 'Lt', 'values': ['3']}", false},
        {"{'key': 'a', 'operator': 'Like', 'values': ['x']}", false},
        {"{'operator': 'Exists'}", false},
        {"{'key': 'a'}", false},
        {"7", false},
    };
    json_t *labels = json_pack("{s:s, s:s}", "a", "x", "n", "4");

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char text[128];
        json_t *requirement;

        snprintf(text, sizeof(text), "%s", rows[i].requirement);
        for (char *c = text; *c; c++)
            *c = *c == '\'' ? '"' : *c;
        requirement = json_loads(text, JSON_DECODE_ANY, NULL);
        assert_non_null(requirement);
        if (requirement_is_met(requirement, labels) != rows[i].is_met)
            fail_msg("%s", rows[i].requirement);
        json_decref(requirement);
    }
    json_decref(labels);
}

static void test_all_of_them(void **state)
{
    json_t *labels = json_pack("{s:s}", "a", "x"),
           *both = json_pack("[{s:s, s:s}, {s:s, s:s}]", "key", "a", "operator", "Exists", "key",
                             "b", "operator", "Exists"),
           *none = json_array();

    assert_false(requirements_are_met(both, labels));
    json_object_set_new(labels, "b", json_string(""));
    assert_true(requirements_are_met(both, labels));
    assert_true(requirements_are_met(none, labels));
    assert_true(requirements_are_met(NULL, labels));
    json_decref(labels);
    json_decref(both);
    json_decref(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_operators),
        cmocka_unit_test(test_all_of_them),
    };

    return cmocka_run_group_tests_name("karpenter/requirement", tests, NULL, NULL);
}
