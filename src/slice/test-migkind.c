// SPDX-License-Identifier: Apache-2.0
#include "slice/migkind.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/array.h"
#include "slice/test-board.h"

/* A name leads to positions in the board, and these to the same name. */
static void test_names_and_kinds(void **state)
{
    static const struct {
        const char *name;
        uint32_t profile, compute; /* 99: the board does not have it */
    } table[] = {
        {"1g.5gb", 0, 0},   {"2g.10gb", 1, 1},     {"1c.2g.10gb", 1, 0}, {"2c.7g.40gb", 4, 1},
        {"7g.40gb", 4, 4},  {"1g.5gb+me", 5, 0},   {"1g.10gb", 6, 0},    {"1g.10gb+me", 99, 0},
        {"3g.40gb", 99, 0}, {"5c.7g.40gb", 99, 0}, {"6g.40gb", 99, 0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        char again[DEVICE_PROFILE_SIZE];
        struct mig_name name;
        struct mig_kind kind = {99, 99};

        assert_int_equal(migname_parse(table[i].name, &name, NULL), 0);
        assert_int_equal(migkind_find(board_a100(), &name, &kind),
                         table[i].profile == 99 ? MIGKIND_ABSENT : 0);
        assert_int_equal(kind.profile, table[i].profile);
        if (table[i].profile == 99)
            continue;
        assert_int_equal(kind.compute, table[i].compute);
        migkind_format(board_a100(), kind, again);
        assert_string_equal(again, table[i].name);
    }
}

/* Two compute profiles of one size are one kind: the first, which migkind_find has, too. */
static void test_compute_profiles_of_one_size(void **state)
{
    struct mig_board board = *board_a100();
    struct mig_instance instance = {.profile = 2};
    struct mig_compute compute = {.profile = 3};
    struct mig_kind kind;

    board.profiles[2].computes[3] = board.profiles[2].computes[1];
    board.profiles[2].n_computes = 4;
    assert_int_equal(migkind_of(&board, &instance, &compute, &kind), 0);
    assert_int_equal(kind.profile, 2);
    assert_int_equal(kind.compute, 1);
}

/* A driver newer than this program may report positions that the board does not have. */
static void test_absent_kinds(void **state)
{
    static const struct {
        uint32_t profile, compute;
    } table[] = {{99, 0}, {2, 99}, {7, 0}, {2, 3}};

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct mig_instance instance = {.profile = table[i].profile};
        struct mig_compute compute = {.profile = table[i].compute};
        struct mig_kind kind;

        assert_int_equal(migkind_of(board_a100(), &instance, &compute, &kind), MIGKIND_ABSENT);
    }
}

static void test_full_compute(void **state)
{
    struct mig_profile profile = board_a100()->profiles[4];

    assert_int_equal(migkind_full_compute(&profile), 4);
    profile.n_computes = 4; /* without the one of seven slices */
    assert_int_equal(migkind_full_compute(&profile), profile.n_computes);
}

static void test_list_of_profiles(void **state)
{
    cleanup_text struct text text = TEXT_INIT;

    migkind_add_profiles(board_a30(), &text);
    assert_string_equal(text_string(&text),
                        "1g.6gb (4), 2g.12gb (2), 4g.24gb (1), 1g.6gb+me (1), 2g.12gb+me (1)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_and_kinds),
        cmocka_unit_test(test_compute_profiles_of_one_size),
        cmocka_unit_test(test_absent_kinds),
        cmocka_unit_test(test_full_compute),
        cmocka_unit_test(test_list_of_profiles),
    };

    return cmocka_run_group_tests_name("slice/migkind", tests, NULL, NULL);
}
