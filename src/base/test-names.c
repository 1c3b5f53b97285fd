// SPDX-License-Identifier: Apache-2.0
#include "base/names.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"

static void assert_names(const struct names *names, const char *expected)
{
    cleanup_text struct text text = TEXT_INIT;

    for (size_t i = 0; i < names->n_items; i++)
        text_addf(&text, "%s ", names->items[i]);
    assert_string_equal(text_string(&text), expected);
}

static void names_are_copied_and_sorted(void **state)
{
    cleanup_names struct names names = NAMES_INIT;
    char name[] = "p4d-16.yaml";

    (void)state;
    names_sort(&names); /* of none */
    assert_int_equal(names_add(&names, name, strlen("p4d-16")), 0);
    name[4] = '8';
    assert_int_equal(names_add(&names, name, strlen("p4d-8")), 0);
    assert_names(&names, "p4d-16 p4d-8 ");
    names_sort_by_version(&names);
    assert_names(&names, "p4d-8 p4d-16 ");
    names_sort(&names);
    assert_names(&names, "p4d-16 p4d-8 ");
}

static void there_may_be_many(void **state)
{
    cleanup_names struct names names = NAMES_INIT;
    char name[16];

    (void)state;
    for (unsigned i = 1000; i-- > 0;) {
        snprintf(name, sizeof(name), "%u", i);
        assert_int_equal(names_add(&names, name, strlen(name)), 0);
    }
    names_sort_by_version(&names);
    assert_int_equal(names.n_items, 1000);
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "%u", i);
        assert_string_equal(names.items[i], name);
    }
    names_deinit(&names);
    assert_int_equal(names.n_items, 0); /* and may be used again */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_copied_and_sorted),
        cmocka_unit_test(there_may_be_many),
    };

    return cmocka_run_group_tests_name("base/names", tests, NULL, NULL);
}
