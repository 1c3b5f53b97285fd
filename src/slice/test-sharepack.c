// SPDX-License-Identifier: Apache-2.0
#include "slice/sharepack.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/array.h"

static void test_known(void **state)
{
    static const struct {
        struct sharepack_size sizes[3];
        size_t n_gpus, n_layouts;
    } cases[] = {
        {{{810, 0}, {470, 0}, {160, 0}}, 0, 0},
        {{{810, 3}, {470, 0}, {160, 0}}, 3, 1},
        {{{810, 3}, {470, 0}, {160, 3}}, 3, 1},
        {{{810, 3}, {470, 4}, {160, 1}}, 5, 2}, /* two of 810 alone: part of the first */
        {{{1000, 2}, {500, 3}, {250, 1}}, 4, 3},
        {{{600, 1}, {300, 1000000}, {100, 1}}, 333334, 2},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        cleanup_sharepack struct sharepack pack = SHAREPACK_INIT;
        size_t n_gpus = 0;

        assert_int_equal(sharepack_make(cases[i].sizes, 3, SHARE_WHOLE, &pack), 0);
        for (size_t k = 0; k < pack.n_layouts; k++)
            n_gpus += pack.layouts[k].n_gpus;
        if (n_gpus != cases[i].n_gpus || pack.n_layouts != cases[i].n_layouts)
            fail_msg("case %zu: %zu GPUs, %zu layouts", i, n_gpus, pack.n_layouts);
        assert_int_equal(sharepack_count(cases[i].sizes, 3, SHARE_WHOLE), n_gpus);
    }
}

/* The fewest GPUs for what is left, of which `room` is free on the last one. */
static size_t fewest(const struct sharepack_size *sizes, size_t *left, unsigned whole,
                     unsigned room)
{
    size_t least = SIZE_MAX;

    for (size_t i = 0; i < 3; i++) {
        const bool is_new = sizes[i].size > room;
        size_t n;

        if (!left[i])
            continue;
        left[i]--;
        n = is_new + fewest(sizes, left, whole, (is_new ? whole : room) - sizes[i].size);
        left[i]++;
        if (n < least)
            least = n;
    }
    return least == SIZE_MAX ? 0 : least;
}

/* Every slice has its place, no GPU has too many, and there are no more GPUs than the bound allows.
 */
static void check(const struct sharepack_size *sizes, unsigned whole)
{
    cleanup_sharepack struct sharepack pack = SHAREPACK_INIT;
    size_t left[3], n_places[3] = {0}, n_gpus = sharepack_count(sizes, 3, whole);

    for (size_t i = 0; i < 3; i++)
        left[i] = sizes[i].n_slices;
    assert_true(9 * n_gpus <= 11 * fewest(sizes, left, whole, 0) + 6);
    assert_int_equal(sharepack_make(sizes, 3, whole, &pack), 0);
    for (size_t k = 0; k < pack.n_layouts; k++) {
        unsigned used = 0;

        for (size_t i = 0; i < 3; i++) {
            used += pack.layouts[k].counts[i] * sizes[i].size;
            n_places[i] += pack.layouts[k].counts[i] * pack.layouts[k].n_gpus;
        }
        assert_true(used && used <= whole);
        n_gpus -= pack.layouts[k].n_gpus;
    }
    assert_int_equal(n_gpus, 0);
    for (size_t i = 0; i < 3; i++)
        assert_true(n_places[i] >= sizes[i].n_slices);
}

static void test_beside_brute_force(void **state)
{
    srand(7);
    for (int n = 0; n < 300; n++) {
        const unsigned whole = 4 + (unsigned)rand() % 20;
        struct sharepack_size sizes[3];
        unsigned most = whole;

        for (size_t i = 0; i < 3; i++) {
            const unsigned more = 3 - (unsigned)i;

            most = more + (unsigned)rand() % (most - more + 1);
            sizes[i] = (struct sharepack_size){most, (size_t)rand() % 4};
            most -= most > more - 1 && i < 2;
        }
        check(sizes, whole);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_beside_brute_force),
    };

    return cmocka_run_group_tests_name("slice/sharepack", tests, NULL, NULL);
}
