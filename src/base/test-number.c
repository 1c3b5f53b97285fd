// SPDX-License-Identifier: Apache-2.0
#include "base/number.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"

static void parses_numbers(void **state)
{
    uint32_t value = 7;

    assert_true(number_parse("4294967295", &value));
    assert_int_equal(value, UINT32_MAX);
    value = 7;
    assert_false(number_parse("4294967296", &value));
    assert_false(number_parse("", &value));
    assert_false(number_parse("-1", &value));
    assert_false(number_parse("1 ", &value));
    assert_int_equal(value, 7);
}

static void parses_sizes(void **state)
{
    uint64_t value = 7;

    assert_true(number_parse_size("16384Mi", &value));
    assert_int_equal(value, 16384ull << 20);
    assert_true(number_parse_size("12", &value));
    assert_int_equal(value, 12);
    value = 7;
    assert_false(number_parse_size("1G", &value)); /* 10^9 or 2^30? not guessed */
    assert_false(number_parse_size("Mi", &value));
    assert_false(number_parse_size("99999999999Ti", &value));
    assert_false(number_parse_size("99999999999999999999999", &value));
    assert_int_equal(value, 7);
}

static void parses_versions(void **state)
{
    static const char *const wrong[] = {"", "7", "7.", ".0", "7.0.1", "1000.0", "7.100"};
    uint32_t major = 0, minor = 0;

    assert_true(number_parse_version("12.4", &major, &minor));
    assert_int_equal(major, 12);
    assert_int_equal(minor, 4);
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
        assert_false(number_parse_version(wrong[i], &major, &minor));
    assert_int_equal(major, 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_numbers),
        cmocka_unit_test(parses_sizes),
        cmocka_unit_test(parses_versions),
    };

    return cmocka_run_group_tests_name("base/number", tests, NULL, NULL);
}
