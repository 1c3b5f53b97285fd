// SPDX-License-Identifier: Apache-2.0
#include "slice/migpack.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"
#include "slice/test-board.h"

enum { THREE = 2, SEVEN = 4 }; /* positions of 3g.20gb and 7g.40gb on an A100 */

/* Their compute profiles have 1, 2, 3 (and 4, 7) slices, at these positions. */
static void count(const char *sizes, uint8_t counts[MIG_CI_PROFILES_MAX])
{
    static const uint32_t positions[] = {['1'] = 0, ['2'] = 1, ['3'] = 2, ['4'] = 3, ['7'] = 4};

    for (; *sizes; sizes++)
        counts[positions[(unsigned char)*sizes]]++;
}

static void test_packs(void **state)
{
    static const struct {
        uint32_t profile;
        struct mig_bin bins[2];
        uint32_t n_bins;
        const char *sizes; /* of the compute instances */
        uint32_t max_added;
        const char *items; /* "bin:start(size)"; NULL: no room */
    } table[] = {
        {THREE, {{0}}, 0, "", 8, ""},
        /* no more GPU instances than needed */
        {THREE, {{0}}, 0, "12", 8, "0:0(2) 0:2(1)"},
        {THREE, {{0}}, 0, "122", 8, "0:0(2) 1:0(2) 0:2(1)"},
        {THREE, {{0}}, 0, "122", 1, NULL},
        {SEVEN, {{0}}, 0, "223", 1, "0:0(3) 0:3(2) 0:5(2)"},
        /* beside what is in an instance */
        {THREE, {{.taken = 3, .used = {0, 1}}}, 1, "1", 0, "0:2(1)"},
        {THREE, {{.taken = 2, .used = {1}}}, 1, "2", 0, NULL},
        {THREE, {{.taken = 2, .used = {1}}}, 1, "2", 1, "1:0(2)"},
        /* an empty instance that stays has to get one */
        {THREE, {{.taken = 1, .used = {1}}, {.must_fill = true}}, 2, "1", 0, "1:0(1)"},
        {THREE, {{.must_fill = true}, {.must_fill = true}}, 2, "1", 8, NULL},
        /* the profile's own limit: two of two slices */
        {THREE, {{.used = {0, 1}}}, 1, "2", 0, NULL},
        /* more than any GPU has */
        {THREE, {{0}}, 0, "111111111", 8, NULL},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        const struct mig_profile *profile = &board_a100()->profiles[table[i].profile];
        uint8_t counts[MIG_CI_PROFILES_MAX] = {0};
        cleanup_text struct text text = TEXT_INIT;
        struct mig_packing packing = {0};

        count(table[i].sizes, counts);
        assert_int_equal(
            migpack(profile, table[i].bins, table[i].n_bins, counts, table[i].max_added, &packing),
            table[i].items ? 0 : MIGPACK_NO_ROOM);
        for (uint32_t j = 0; j < packing.n_items; j++)
            text_addf(&text, "%s%u:%u(%u)", j ? " " : "", packing.items[j].bin,
                      packing.items[j].start, profile->computes[packing.items[j].compute].slices);
        if (table[i].items)
            assert_string_equal(text_string(&text), table[i].items);
    }
}

/* Where the driver lists the starts, no other is taken. */
static void test_starts(void **state)
{
    struct mig_profile profile = board_a100()->profiles[SEVEN];
    uint8_t counts[MIG_CI_PROFILES_MAX] = {0};
    struct mig_packing packing;

    for (uint32_t i = 0; i < profile.n_computes; i++)
        profile.computes[i].starts = mig_compute_starts(7, profile.computes[i].slices);
    count("223", counts);
    assert_int_equal(migpack(&profile, NULL, 0, counts, 1, &packing), 0);
    for (uint32_t i = 0; i < packing.n_items; i++)
        assert_true(profile.computes[packing.items[i].compute].starts >> packing.items[i].start &
                    1);
}

/* A driver may report anything: as many kinds as there can be, of which one goes nowhere beside the
 * others. A search that tried all orders would not end within the hour. */
static void test_many_kinds_without_room(void **state)
{
    struct mig_profile profile = {.shape.gi_slices = 8, .n_computes = 8};
    uint8_t counts[MIG_CI_PROFILES_MAX] = {0};
    struct mig_bin bins[8] = {{0}};
    struct mig_packing packing;

    for (uint32_t i = 0; i < 8; i++) {
        profile.computes[i] = (struct mig_ci_profile){.slices = 1, .max_count = 8};
        counts[i] = 1;
    }
    profile.computes[7].max_count = 0;
    assert_int_equal(migpack(&profile, bins, ARRAY_SIZE(bins), counts, 8, &packing),
                     MIGPACK_NO_ROOM);
    profile.computes[7].max_count = 1;
    assert_int_equal(migpack(&profile, bins, ARRAY_SIZE(bins), counts, 8, &packing), 0);
    assert_int_equal(packing.n_added, 0);
    assert_int_equal(packing.n_items, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packs),
        cmocka_unit_test(test_starts),
        cmocka_unit_test(test_many_kinds_without_room),
    };

    return cmocka_run_group_tests_name("slice/migpack", tests, NULL, NULL);
}
