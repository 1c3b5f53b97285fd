// SPDX-License-Identifier: Apache-2.0
#include "controller/gateset.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"

static const struct gate_setup setup;

static void gates_are_found_by_the_name_of_their_node(void **state)
{
    static const char *const names[] = {"gpu-2", "gpu-10", "gpu-1", "b", "zone"};
    struct gateset set = {.items = NULL};

    assert_null(gateset_find(&set, "gpu-1"));
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        assert_int_equal(gateset_add(&set, gate_new(&setup, names[i], true)), 0);
    for (size_t i = 1; i < set.n_items; i++)
        assert_true(strcmp(gate_node(set.items[i - 1].gate), gate_node(set.items[i].gate)) < 0);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        assert_string_equal(gate_node(gateset_find(&set, names[i])->gate), names[i]);
    assert_null(gateset_find(&set, "gpu"));
    assert_null(gateset_find(&set, "zz"));
    assert_false(gateset_find(&set, "b")->is_settled);

    gateset_find(&set, "gpu-2")->is_settled = true;
    gateset_drop(&set, "gpu-10");
    gateset_drop(&set, "gpu-10");
    gateset_drop(&set, "zone");
    assert_int_equal(set.n_items, 3);
    assert_null(gateset_find(&set, "gpu-10"));
    assert_true(gateset_find(&set, "gpu-2")->is_settled);
    gateset_deinit(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gates_are_found_by_the_name_of_their_node),
    };

    return cmocka_run_group_tests_name("controller/gateset", tests, NULL, NULL);
}
