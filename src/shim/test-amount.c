// SPDX-License-Identifier: Apache-2.0

/* Sums of what programs say never start from 0 again. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shim/amount.h"

#define MOST AMOUNT_MOST

static const struct {
    uint64_t a, b, sum, product, difference;
} cases[] = {
    {0, 0, 0, 0, 0},
    {7, 3, 10, 21, 4},
    {3, 7, 10, 21, 0},
    {MOST - 1, 1, MOST, MOST - 1, MOST - 2},
    {MOST, 1, MOST, MOST, MOST - 1},
    {1, MOST, MOST, MOST, 0},
    {MOST / 2, 2, MOST / 2 + 2, MOST, MOST / 2 - 2},
    {UINT64_MAX, 0, MOST, 0, UINT64_MAX},
    {UINT64_MAX, UINT64_MAX, MOST, MOST, 0},
    {1, UINT64_MAX, MOST, MOST, 0},
    {UINT64_C(1) << 33, UINT64_C(1) << 33, UINT64_C(1) << 34, MOST, 0},
};

static void test_sums_end_where_devices_do(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(amount_add(cases[i].a, cases[i].b), cases[i].sum);
        assert_int_equal(amount_multiply(cases[i].a, cases[i].b), cases[i].product);
        assert_int_equal(amount_minus(cases[i].a, cases[i].b), cases[i].difference);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums_end_where_devices_do),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
