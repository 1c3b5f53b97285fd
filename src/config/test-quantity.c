// SPDX-License-Identifier: Apache-2.0
#include "config/quantity.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"

struct row {
    const char *text;
    uint64_t value;     /* 0 = rejected */
    const char *reason; /* a part of the message */
};

static void assert_refused(int r, const struct error *err, const struct row *row)
{
    assert_int_equal(r, -EINVAL);
    if (!strstr(error_text(err), row->reason))
        fail_msg("%s: '%s' lacks '%s'", row->text, error_text(err), row->reason);
}

static void test_percent(void **state)
{
    static const struct row rows[] = {
        {"50%", 500},
        {"12.5%", 125},
        {"0.1%", 1},
        {"100%", 1000},
        {"100.0%", 1000},
        {".5%", 5},
        {"33.300000000000000000000000000%", 333},
        {"33.33%", 0, "finer than 0.1%"},
        {"0%", 0, "outside 0.1% ... 100%"},
        {"100.1%", 0, "outside 0.1% ... 100%"},
        {"50", 0, "write 50% if that is meant"},
        {"50 %", 0, "expected a percentage"},
        {"50%%", 0, "expected a percentage"},
        {"-5%", 0, "expected a percentage"},
        {"%", 0, "expected a percentage"},
        {"", 0, "expected a percentage"},
        {".%", 0, "expected a percentage"},
        {"99999999999999999999%", 0, "expected a percentage"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct error err = ERROR_INIT;
        unsigned permille = 0;
        int r = quantity_percent(rows[i].text, &permille, &err);

        if (!rows[i].value)
            assert_refused(r, &err, &rows[i]);
        assert_int_equal(permille, rows[i].value);
    }
}

static void test_bytes(void **state)
{
    static const struct row rows[] = {
        {"4Gi", 4ULL << 30},
        {"512Mi", 512ULL << 20},
        {"1.5Gi", 3ULL << 29},
        {"0.5Ki", 512},
        {"4G", 4000000000},
        {"4k", 4000},
        {"4e9", 4000000000},
        {"12", 12},
        {"16383Pi", 16383ULL << 50},
        {"16384Pi", 0, "below 2^64"},
        {"0.3", 0, "not a whole number of bytes"},
        {"0", 0, "more than zero"},
        {"4GB", 0, "'GB' is not a unit"},
        {"4gi", 0, "'gi' is not a unit"},
        {"4 Gi", 0, "' Gi' is not a unit"},
        {"4e", 0, "not a unit"},
        {"4e99", 0, "not a unit"},
        {"Gi", 0, "expected an amount of memory"},
        {"-4Gi", 0, "expected an amount of memory"},
        {"", 0, "expected an amount of memory"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct error err = ERROR_INIT;
        uint64_t bytes = 0;
        int r = quantity_bytes(rows[i].text, &bytes, &err);

        if (!rows[i].value)
            assert_refused(r, &err, &rows[i]);
        assert_int_equal(bytes, rows[i].value);
    }
}

static void test_duration(void **state)
{
    static const struct row rows[] = {
        {"60s", 60000000000},
        {"1h30m", 5400000000000},
        {"500ms", 500000000},
        {"1.5s", 1500000000},
        {".5h", 1800000000000},
        {"+2us", 2000},
        {"2\xc2\xb5s", 2000},
        {"1h1m1s1ms1us1ns", 3661001001001},
        {"0.3333333333333s", 333333333},
        {"infinite", UINT64_MAX},
        {"60", 0, "needs units"},
        {"1d", 0, "needs units"},
        {"1h30", 0, "needs units"},
        {"-1s", 0, "expected a duration"},
        {"s", 0, "expected a duration"},
        {"", 0, "expected a duration"},
        {"1hm", 0, "needs units"},
        {"9999999h", 0, "longer than 292 years"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct error err = ERROR_INIT;
        uint64_t ns = 0;
        int r = quantity_duration(rows[i].text, &ns, &err);

        if (!rows[i].value)
            assert_refused(r, &err, &rows[i]);
        assert_int_equal(ns, rows[i].value);
    }
}

/* gpu-feature-discovery accepts an interval of zero. */
static void test_duration_of_nothing(void **state)
{
    uint64_t ns = 1;

    assert_int_equal(quantity_duration("0s", &ns, NULL), 0);
    assert_int_equal(ns, 0);
    assert_int_equal(quantity_duration("0", &ns, NULL), -EINVAL);
}

static void test_integer(void **state)
{
    int64_t value = 0;

    assert_int_equal(quantity_integer("9223372036854775807", 0, INT64_MAX, &value, NULL), 0);
    assert_true(value == INT64_MAX);
    assert_int_equal(quantity_integer("-9223372036854775808", INT64_MIN, 0, &value, NULL), 0);
    assert_true(value == INT64_MIN);
    assert_int_equal(quantity_integer("9223372036854775808", 0, 10, &value, NULL), -EINVAL);
    assert_int_equal(quantity_integer("-99999999999999999999", 0, 10, &value, NULL), -EINVAL);
    assert_int_equal(quantity_integer("+3", 0, 10, &value, NULL), 0);
    assert_int_equal(value, 3);
    assert_int_equal(quantity_integer("+", 0, 10, &value, NULL), -EINVAL);
    assert_int_equal(quantity_integer("3 ", 0, 10, &value, NULL), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_percent),  cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_duration), cmocka_unit_test(test_duration_of_nothing),
        cmocka_unit_test(test_integer),
    };

    return cmocka_run_group_tests_name("config/quantity", tests, NULL, NULL);
}
