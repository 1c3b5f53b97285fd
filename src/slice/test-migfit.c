// SPDX-License-Identifier: Apache-2.0
#include "slice/migfit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "slice/test-board.h"

/* tests/geometry tries every multiset on every board; here are examples to read. */

static uint32_t list_spots(const struct board_layout *from, struct mig_spot spots[])
{
    for (uint32_t i = 0; i < from->layout.n_instances; i++)
        spots[i] =
            (struct mig_spot){from->layout.instances[i].profile, from->layout.instances[i].start};
    return from->layout.n_instances;
}

static void test_places(void **state)
{
    static const struct {
        const char *stay, *want, *spots; /* NULL: no room */
    } table[] = {
        {"", "", ""},
        {"", "7g.40gb", "7g.40gb@0"},
        {"", "4g.20gb 3g.20gb", "3g.20gb@4 4g.20gb@0"},
        {"", "3g.20gb 3g.20gb", "3g.20gb@0 3g.20gb@4"},
        {"", "3g.20gb 3g.20gb 1g.5gb", NULL},
        {"", "4g.20gb 4g.20gb", NULL},
        {"", "1g.10gb 1g.10gb 1g.10gb 1g.10gb", "1g.10gb@0 1g.10gb@2 1g.10gb@4 1g.10gb@6"},
        {"", "2g.10gb 2g.10gb 2g.10gb 1g.10gb", "2g.10gb@0 2g.10gb@2 2g.10gb@4 1g.10gb@6"},
        {"1g.5gb@0", "3g.20gb 3g.20gb", NULL},
        {"1g.5gb@0", "3g.20gb 2g.10gb 1g.5gb", "3g.20gb@4 2g.10gb@2 1g.5gb@1"},
        {"1g.5gb@0", "4g.20gb", NULL},
        {"2g.10gb@2", "2g.10gb 2g.10gb 1g.5gb", "2g.10gb@0 2g.10gb@4 1g.5gb@6"},
        {"1g.5gb+me@0", "1g.5gb+me", NULL},
        {"", "3c.3g.20gb 1c.3g.20gb 1c.3g.20gb", "3g.20gb@0 3g.20gb@4"},
        {"", "1c.4g.20gb 1c.4g.20gb 1c.4g.20gb 1c.4g.20gb 1c.4g.20gb", NULL},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct board_layout from = board_layout(board_a100(), table[i].stay);
        struct mig_want want = board_want(board_a100(), table[i].want);
        cleanup_text struct text text = TEXT_INIT;
        struct mig_spot stay[MIG_INSTANCES_MAX];
        uint64_t work = 0;
        struct mig_fit fit = {0};
        int r = migfit_place_want(board_a100(), stay, list_spots(&from, stay), &want, &work, &fit);

        assert_int_equal(r, table[i].spots ? 0 : MIGFIT_NO_ROOM);
        for (uint32_t j = 0; j < fit.n_spots; j++)
            text_addf(&text, "%s%s@%u", j ? " " : "",
                      board_a100()->profiles[fit.spots[j].profile].name, fit.spots[j].start);
        if (table[i].spots)
            assert_string_equal(text_string(&text), table[i].spots);
    }
}

static void test_largest_part(void **state)
{
    static const struct {
        const char *stay, *want, *part;
    } table[] = {
        {"", "3g.20gb 3g.20gb 1g.5gb", "2 x 3g.20gb"},
        {"", "7g.40gb 1g.5gb 1g.5gb", "7g.40gb"},
        {"", "7g.40gb 3g.20gb 2g.10gb 1g.5gb 1g.5gb",
         "3g.20gb, 2g.10gb, 2 x 1g.5gb"}, /* as many slices */
        {"1g.5gb@0", "3g.20gb 3g.20gb 1g.5gb", "3g.20gb, 1g.5gb"},
        {"7g.40gb@0", "1g.5gb", "no MIG device"},
        {"", "1g.5gb+me 1g.5gb+me", "1g.5gb+me"},
        {"", "1c.3g.20gb 3g.20gb 2g.10gb", "3g.20gb, 2g.10gb"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct board_layout from = board_layout(board_a100(), table[i].stay);
        struct mig_want want = board_want(board_a100(), table[i].want), part;
        cleanup_text struct text text = TEXT_INIT;
        struct mig_spot stay[MIG_INSTANCES_MAX];
        uint64_t work = 0;

        migfit_largest(board_a100(), stay, list_spots(&from, stay), &want, &work, &part);
        migwant_add_text(board_a100(), &part, &text);
        assert_string_equal(text_string(&text), table[i].part);
    }
}

/* A driver with more decoders in seven small instances than in the whole GPU shares them. */
static void test_engines_that_contradict_each_other_are_shared(void **state)
{
    struct mig_board board = *board_a100();
    struct mig_want want = board_want(&board, "1g.5gb 1g.5gb 1g.5gb 1g.5gb 1g.5gb 1g.5gb 1g.5gb");
    struct mig_fit fit;
    uint64_t work = 0;

    board.profiles[0].shape.decoders = 1;
    assert_int_equal(board.profiles[4].shape.decoders, 5);
    assert_int_equal(migfit_place_want(&board, NULL, 0, &want, &work, &fit), 0);
    board.profiles[0].max_count = 5; /* now they agree, and a sixth has none */
    board.profiles[5].shape.decoders = 1;
    want = board_want(&board, "1g.5gb 1g.5gb 1g.5gb 1g.5gb 1g.5gb 1g.5gb+me");
    assert_int_equal(migfit_place_want(&board, NULL, 0, &want, &work, &fit), MIGFIT_NO_ROOM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_largest_part),
        cmocka_unit_test(test_engines_that_contradict_each_other_are_shared),
    };

    return cmocka_run_group_tests_name("slice/migfit", tests, NULL, NULL);
}
