// SPDX-License-Identifier: Apache-2.0
#include "nvml/migplace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "nvml/machinefile.h"
#include "nvml/migword.h"

static struct catalog catalog = CATALOG_INIT;

static int load_catalog(void **state)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_free char *folder = machine_catalog_folder();

    return folder ? catalog_load(folder, &problems, &catalog) : -1;
}

static int forget_catalog(void **state)
{
    catalog_deinit(&catalog);
    return 0;
}

#define RTX "RTX-PRO-6000-Blackwell-Server-Edition"

static const struct mig_board *board_of(const char *model)
{
    return &catalog_find_model(&catalog, model)->mig;
}

static void add_all(const struct mig_board *board, const char *const *words,
                    struct mig_layout *layout)
{
    for (; *words; words++)
        assert_int_equal(migword_add(board, *words, layout, NULL), 0);
}

/* "0:1" is one of MIG's placements; what nvidia-smi printed where people created these. */
static void chooses_the_place_that_leaves_most(void **state)
{
    static const struct {
        const char *model;
        const char *words[9];
        uint32_t ids[9], starts[9]; /* by id */
    } table[] = {
        {"A100-SXM4-40GB", {"1g.5gb"}, {13}, {6}},
        {"A100-SXM4-40GB", {"1g.5gb", "2g.10gb", "4g.20gb"}, {1, 5, 13}, {0, 4, 6}},
        {"A100-SXM4-40GB", {"3g.20gb"}, {2}, {4}},
        {"A100-SXM4-40GB", {"3g.20gb", "3g.20gb"}, {1, 2}, {0, 4}},
        {"A100-SXM4-40GB", {"7g.40gb"}, {0}, {0}},
        {"H100-NVL", {"2g.24gb", "2g.24gb", "2g.24gb", "1g.12gb"}, {3, 4, 5, 13}, {0, 2, 4, 6}},
        {"H100-80GB-HBM3",
         {"1g.10gb", "1g.10gb", "1g.10gb", "1g.10gb", "1g.10gb", "1g.10gb", "1g.10gb"},
         {7, 8, 9, 10, 11, 12, 13},
         {0, 1, 2, 3, 4, 5, 6}},
        {RTX, {"1g.24gb", "1g.24gb", "1g.24gb", "1g.24gb"}, {3, 4, 5, 6}, {0, 3, 6, 9}},
        {RTX, {"2g.48gb", "1g.24gb", "1g.24gb"}, {1, 5, 6}, {0, 6, 9}},
        {"A30", {"2g.12gb", "1g.6gb", "1g.6gb"}, {1, 5, 6}, {0, 2, 3}},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct mig_layout layout = {.enabled = true};
        uint32_t n = 0;

        add_all(board_of(table[i].model), table[i].words, &layout);
        while (table[i].words[n])
            n++;
        assert_int_equal(layout.n_instances, n);
        for (uint32_t j = 0; j < n; j++) {
            assert_int_equal(layout.instances[j].id, table[i].ids[j]);
            assert_int_equal(layout.instances[j].start, table[i].starts[j]);
        }
    }
}

/* An H100 printed GPU instances 13, 11, 12, 7, 8, 9, 10 for seven of 1g.10gb. */
static void creates_in_the_order_of_a_driver(void **state)
{
    static const uint32_t starts[] = {6, 4, 5, 0, 1, 2, 3};
    const struct mig_board *board = board_of("H100-80GB-HBM3");
    struct mig_layout layout = {.enabled = true};
    uint32_t start;

    for (size_t i = 0; i < ARRAY_SIZE(starts); i++) {
        assert_int_equal(migplace_find(board, &layout, 0, MIGPLACE_ANY, &start), 0);
        assert_int_equal(start, starts[i]);
        assert_int_equal(migplace_add(board, &layout, 0, start), 0);
    }
    assert_int_equal(migplace_find(board, &layout, 0, MIGPLACE_ANY, &start), MIGPLACE_NO_ROOM);
}

static void counts_what_has_room(void **state)
{
    static const struct {
        const char *model;
        const char *words[5];
        const char *profile;
        uint32_t capacity;
    } table[] = {
        {"A100-SXM4-40GB", {NULL}, "1g.5gb", 7},
        {"A100-SXM4-40GB", {NULL}, "3g.20gb", 2},
        {"A100-SXM4-40GB", {"3g.20gb@4"}, "1g.5gb", 4},
        {"A100-SXM4-40GB", {"3g.20gb@0"}, "1g.5gb", 3},
        {"A100-SXM4-40GB", {"3g.20gb@0"}, "4g.20gb", 0},
        {"A100-SXM4-40GB", {"1g.5gb@1", "1g.5gb@5"}, "3g.20gb", 0}, /* the memory is there */
        {"A100-SXM4-40GB", {"1g.5gb@1", "1g.5gb@5"}, "2g.10gb", 1},
        {"A100-SXM4-40GB", {"1g.5gb+me"}, "1g.5gb+me", 0},
        {"A100-SXM4-40GB", {"7g.40gb"}, "1g.5gb", 0},
        {RTX, {"1g.24gb"}, "1g.24gb", 3},
        {RTX, {"1g.24gb+me.all"}, "1g.24gb", 0}, /* it has every decoder */
        {RTX, {"1g.24gb+me.all"}, "1g.24gb-me", 3},
        {RTX, {"2g.48gb+gfx"}, "1g.24gb", 2},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        const struct mig_board *board = board_of(table[i].model);
        struct mig_layout layout = {.enabled = true};
        struct migword word;

        add_all(board, table[i].words, &layout);
        assert_int_equal(migword_parse(board, table[i].profile, &word, NULL), 0);
        if (migplace_capacity(board, &layout, word.profile) != table[i].capacity)
            fail_msg("%s beside %s: %u", table[i].profile, table[i].words[0],
                     migplace_capacity(board, &layout, word.profile));
    }
}

static void puts_compute_instances_beside_each_other(void **state)
{
    static const char *const words[] = {"1c.7g.40gb", "2c.7g.40gb", "3c.7g.40gb", NULL};
    const struct mig_board *board = board_of("A100-SXM4-40GB");
    struct mig_layout layout = {.enabled = true};
    const struct mig_instance *instance = &layout.instances[0];
    uint32_t start;

    add_all(board, words, &layout);
    assert_int_equal(layout.n_instances, 1);
    assert_int_equal(instance->n_computes, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(instance->computes[i].id, i);
        assert_int_equal(instance->computes[i].slices, i + 1);
    }
    assert_int_equal(instance->computes[1].start, 2);
    assert_int_equal(instance->computes[2].start, 4);
    assert_int_equal(migplace_compute_capacity(board, instance, 0), 1);
    assert_int_equal(migplace_compute_capacity(board, instance, 1), 0);
    assert_int_equal(migplace_find_compute(board, instance, 0, 1, &start), 0);
    assert_int_equal(migplace_find_compute(board, instance, 0, 0, &start), MIGPLACE_NO_ROOM);
    assert_int_equal(migplace_find_compute(board, instance, 1, 1, &start), MIGPLACE_UNKNOWN_PLACE);
}

/* Any sequence, on every board: nothing overlaps, each id is its place's. */
static void never_overlaps(void **state)
{
    unsigned seed = 1;

    for (size_t m = 0; m < catalog.n_models; m++) {
        const struct mig_board *board = &catalog.models[m].mig;

        for (int round = 0; round < 200 && board->n_slots; round++) {
            struct mig_layout layout = {.enabled = true};
            uint32_t start, used = 0;

            for (int i = 0; i < 12; i++) {
                const uint32_t p = (seed = seed * 1103515245 + 12345) / 65536 % board->n_profiles;

                if (migplace_find(board, &layout, p, MIGPLACE_ANY, &start) == 0)
                    assert_int_equal(migplace_add(board, &layout, p, start), 0);
            }
            assert_true(layout.n_instances > 0);
            for (uint32_t i = 0; i < layout.n_instances; i++) {
                const struct mig_instance *it = &layout.instances[i];
                const uint32_t bits = ((1u << board->profiles[it->profile].slots) - 1) << it->start;

                assert_int_equal(used & bits, 0);
                used |= bits;
                assert_true(it->id < MIGPLACE_IDS);
                assert_true(i == 0 || layout.instances[i - 1].id < it->id);
                assert_int_equal(it->id, migplace_id(board, it->profile, it->start));
            }
        }
    }
}

static void refuses_other_words(void **state)
{
    static const struct {
        const char *text, *sentence;
    } table[] = {
        {"1g.6gb",
         "'1g.6gb' is none of 1g.5gb, 2g.10gb, 3g.20gb, 4g.20gb, 7g.40gb, 1g.5gb+me, 1g.10gb"},
        {"1g.5gb@", "'1g.5gb@': write a memory slice behind the @"},
        {"1g.5gb@99", "'1g.5gb@99': write a memory slice behind the @"},
        {"3c.4g.20gb", "4g.20gb has no compute instance of 3 slices"},
        {"1g.5gb@7", "there is no room for 1g.5gb@7"},
    };
    const struct mig_board *board = board_of("A100-SXM4-40GB");

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct mig_layout layout = {.enabled = true};
        struct error err = ERROR_INIT;

        assert_true(migword_add(board, table[i].text, &layout, &err) < 0);
        assert_string_equal(error_text(&err), table[i].sentence);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chooses_the_place_that_leaves_most),
        cmocka_unit_test(creates_in_the_order_of_a_driver),
        cmocka_unit_test(counts_what_has_room),
        cmocka_unit_test(puts_compute_instances_beside_each_other),
        cmocka_unit_test(never_overlaps),
        cmocka_unit_test(refuses_other_words),
    };

    return cmocka_run_group_tests_name("sim/migplace", tests, load_catalog, forget_catalog);
}
