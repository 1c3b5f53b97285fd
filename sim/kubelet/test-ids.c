// SPDX-License-Identifier: Apache-2.0
#include "ids.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

static void test_stays_sorted_and_unique(void **state)
{
    struct ids ids = IDS_INIT;
    char id[16];

    for (unsigned i = 0; i < 500; i++) {
        snprintf(id, sizeof(id), "%03u", (i * 77) % 250);
        assert_int_equal(ids_add(&ids, id), 0);
    }
    assert_int_equal(ids.n_items, 250);
    for (unsigned i = 0; i < 250; i++) {
        snprintf(id, sizeof(id), "%03u", i);
        assert_string_equal(ids.items[i], id);
        assert_true(ids_has(&ids, id));
    }
    assert_false(ids_has(&ids, "250"));
    ids_deinit(&ids);
}

static void test_add_and_remove_sets(void **state)
{
    struct ids ids = IDS_INIT, other = IDS_INIT;

    ids_add(&ids, "b");
    ids_add(&other, "a");
    ids_add(&other, "c");
    assert_int_equal(ids_add_all(&ids, &other), 0);
    assert_int_equal(ids.n_items, 3);
    ids_remove(&other, "nobody");
    ids_remove(&ids, "a");
    ids_remove(&ids, "c");
    assert_int_equal(ids.n_items, 1);
    assert_string_equal(ids.items[0], "b");
    ids_deinit(&ids);
    ids_deinit(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stays_sorted_and_unique),
        cmocka_unit_test(test_add_and_remove_sets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
