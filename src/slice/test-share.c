// SPDX-License-Identifier: Apache-2.0
#include "slice/share.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"

static void test_memory_is_whole_mib_without_the_reserved(void **state)
{
    static const struct {
        uint64_t total, reserved, mib;
    } table[] = {
        {16384 * SHARE_MIB, 0, 16384},
        {16384 * SHARE_MIB, 1, 16383},
        {16384 * SHARE_MIB, 233 * SHARE_MIB, 16151},
        {0, 0, 0},
        {SHARE_MIB, SHARE_MIB, 0},
        {SHARE_MIB, 2 * SHARE_MIB, 0},
        {UINT64_MAX, 0, UINT64_MAX / SHARE_MIB},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct device device = {.mem_total_bytes = table[i].total,
                                .mem_reserved_bytes = table[i].reserved};

        assert_int_equal(share_memory_mib(&device), table[i].mib);
    }
}

static void test_equal_parts_add_up(void **state)
{
    static const uint64_t wholes[] = {0, 1, 999, 1000, 16151, UINT64_MAX};
    static const unsigned parts[] = {1, 2, 3, 4, 7, 48, 1000, 1001, 4096};

    for (size_t w = 0; w < ARRAY_SIZE(wholes); w++) {
        for (size_t p = 0; p < ARRAY_SIZE(parts); p++) {
            uint64_t sum = 0, last = UINT64_MAX;

            for (unsigned n = 0; n < parts[p]; n++) {
                uint64_t part = share_equal(wholes[w], parts[p], n);

                assert_true(part <= last);
                last = part;
                sum += part;
            }
            assert_true(sum == wholes[w]);
            assert_true(share_equal(wholes[w], parts[p], 0) - last <= 1);
        }
    }
}

static void test_unequal_parts(void **state)
{
    static const struct {
        uint64_t memory_mib;
        struct share in[4];
        uint64_t mem_mib[4];
        bool fits;
    } table[] = {
        {16151, {{500, 0}, {250, 0}, {125, 0}, {125, 0}}, {8076, 4038, 2019, 2018}, true},
        {16151, {{333, 0}, {333, 0}, {333, 0}}, {5378, 5378, 5378}, true},
        {16151, {{500, 0}, {125, 4096}, {125, 0}}, {8076, 4096, 2018}, true},
        {16151, {{500, 0}, {500, 8075}}, {8075, 8075}, true},
        {16151, {{500, 0}, {500, 8077}}, {8075, 8077}, false},
        {16151, {{500, 0}, {501, 0}}, {8076, 8091}, false},
        {16151, {{10, 16152}}, {16152}, false},
        {0, {{500, 0}, {500, 4096}}, {0, 4096}, true}, /* unknown: what is asked for is believed */
        {3, {{250, 0}, {250, 0}, {250, 0}, {250, 0}}, {1, 1, 1, 0}, true},
        {UINT64_MAX / SHARE_MIB, {{500, 0}, {500, 0}}, {1ULL << 43, (1ULL << 43) - 1}, true},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct share shares[4];
        size_t n = 0;

        memcpy(shares, table[i].in, sizeof(shares));
        while (n < 4 && shares[n].permille)
            n++;
        assert_int_equal(share_fits(shares, n, table[i].memory_mib, false), table[i].fits);
        share_divide(shares, n, table[i].memory_mib);
        for (size_t k = 0; k < n; k++)
            assert_int_equal(shares[k].mem_mib, table[i].mem_mib[k]);
    }
}

/* Memory alone, and each slice's for itself. */
static void test_overcommitted(void **state)
{
    static const struct {
        struct share shares[3];
        size_t n;
        bool fits;
    } table[] = {
        {{{250, 8000}, {250, 8000}, {250, 8000}}, 3, true},
        {{{250, 16151}, {500, 0}}, 2, true},
        {{{250, 16152}}, 1, false},
        {{{600, 100}, {500, 100}}, 2, false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++)
        assert_int_equal(share_fits(table[i].shares, table[i].n, 16151, true), table[i].fits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_is_whole_mib_without_the_reserved),
        cmocka_unit_test(test_equal_parts_add_up),
        cmocka_unit_test(test_unequal_parts),
        cmocka_unit_test(test_overcommitted),
    };

    return cmocka_run_group_tests_name("slice/share", tests, NULL, NULL);
}
