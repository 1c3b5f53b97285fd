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

static void reads_counts_as_the_api_writes_them(void **state)
{
    static const struct {
        const char *text;
        int64_t number;
    } rows[] = {
        {"0", 0},
        {"16", 16},
        {"2k", 2000},
        {"3M", 3000000},
        {"", -1},
        {"k", -1},
        {"-1", -1},
        {"1.5", -1},
        {"16Gi", -1},
        {"100m", -1},
        {"9E", 9000000000000000000},
        {"10E", -1},
        {"99999999999999999999", -1},
        {" 1", -1},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (number_quantity(rows[i].text) != rows[i].number)
            fail_msg("\"%s\" was read as %lld", rows[i].text,
                     (long long)number_quantity(rows[i].text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_numbers),
        cmocka_unit_test(parses_sizes),
        cmocka_unit_test(reads_counts_as_the_api_writes_them),
        cmocka_unit_test(parses_versions),
    };

    return cmocka_run_group_tests_name("base/number", tests, NULL, NULL);
}
