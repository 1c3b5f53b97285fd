// SPDX-License-Identifier: Apache-2.0
#include "karpenter/cost.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/array.h"

static void assert_cheapest(const struct cost_offer offers[3], size_t n, size_t a, size_t b,
                            size_t c)
{
    size_t counts[3];

    assert_int_equal(cost_cheapest(offers, 3, n, counts), 0);
    if (counts[0] != a || counts[1] != b || counts[2] != c)
        fail_msg("%zu slices: %zu, %zu, %zu", n, counts[0], counts[1], counts[2]);
}

static void test_mixes(void **state)
{
    static const struct cost_offer offers[] = {{4, 10}, {16, 36}, {32, 90}};

    assert_cheapest(offers, 0, 0, 0, 0);
    assert_cheapest(offers, 1, 1, 0, 0);
    assert_cheapest(offers, 4, 1, 0, 0);
    assert_cheapest(offers, 12, 3, 0, 0);
    assert_cheapest(offers, 13, 0, 1, 0);
    assert_cheapest(offers, 17, 1, 1, 0);
    assert_cheapest(offers, 33, 1, 2, 0);
}

/* As cheap: the fewer nodes. */
static void test_ties(void **state)
{
    static const struct cost_offer offers[] = {{1, 10}, {2, 20}, {4, 40}};

    assert_cheapest(offers, 8, 0, 0, 2);
    assert_cheapest(offers, 3, 1, 1, 0);
}

/* Beside every count of nodes of three types. */
static void test_exact(void **state)
{
    static const struct cost_offer offers[] = {{3, 31}, {7, 70}, {11, 104}};

    for (size_t n = 1; n < 60; n++) {
        uint64_t least = UINT64_MAX, got = 0;
        size_t counts[3], had = 0;

        for (size_t a = 0; a <= 20; a++)
            for (size_t b = 0; b <= 9; b++)
                for (size_t c = 0; c <= 6; c++)
                    if (3 * a + 7 * b + 11 * c >= n && 31 * a + 70 * b + 104 * c < least)
                        least = 31 * a + 70 * b + 104 * c;
        assert_int_equal(cost_cheapest(offers, 3, n, counts), 0);
        for (size_t i = 0; i < 3; i++) {
            got += counts[i] * offers[i].micro;
            had += counts[i] * offers[i].n_slices;
        }
        assert_int_equal(got, least);
        assert_true(had >= n);
    }
}

static void test_bounds(void **state)
{
    static const struct cost_offer offer = {1, 1};
    size_t count;

    assert_int_equal(cost_cheapest(&offer, 0, 1, &count), -ERANGE);
    assert_int_equal(cost_cheapest(&offer, 1, COST_SLICES_MAX + 1, &count), -ERANGE);
    assert_int_equal(cost_cheapest(&offer, 1, COST_SLICES_MAX, &count), 0);
    assert_int_equal(count, COST_SLICES_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mixes),
        cmocka_unit_test(test_ties),
        cmocka_unit_test(test_exact),
        cmocka_unit_test(test_bounds),
    };

    return cmocka_run_group_tests_name("karpenter/cost", tests, NULL, NULL);
}
