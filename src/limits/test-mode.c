// SPDX-License-Identifier: Apache-2.0

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "limits/mode.h"

static void test_each_mode_has_the_name_of_the_configuration(void **state)
{
    assert_string_equal(limits_mode_name(LIMITS_NONE), "none");
    assert_string_equal(limits_mode_name(LIMITS_OBSERVE), "observe");
    assert_string_equal(limits_mode_name(LIMITS_ENFORCED), "enforced");
}

static void test_names_are_read(void **state)
{
    enum limits_mode mode;

    for (unsigned i = LIMITS_NONE; i <= LIMITS_ENFORCED; i++) {
        assert_true(limits_parse_mode(limits_mode_name((enum limits_mode)i), &mode));
        assert_int_equal(mode, i);
    }
    assert_false(limits_parse_mode("Enforced", &mode));
    assert_false(limits_parse_mode("", &mode));
    assert_int_equal(mode, LIMITS_ENFORCED);
}

static void test_how_time_is_shared_by_its_names(void **state)
{
    static const char *const names[] = {"none", "observe", "elastic", "strict"};
    enum limits_compute compute;

    for (unsigned i = LIMITS_COMPUTE_NONE; i <= LIMITS_COMPUTE_STRICT; i++) {
        assert_string_equal(limits_compute_name((enum limits_compute)i), names[i]);
        assert_true(limits_parse_compute(names[i], &compute));
        assert_int_equal(compute, i);
    }
    assert_false(limits_parse_compute("enforced", &compute));
    assert_false(limits_parse_compute("", &compute));
    assert_int_equal(compute, LIMITS_COMPUTE_STRICT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_mode_has_the_name_of_the_configuration),
        cmocka_unit_test(test_names_are_read),
        cmocka_unit_test(test_how_time_is_shared_by_its_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
