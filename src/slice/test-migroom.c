// SPDX-License-Identifier: Apache-2.0
#include "slice/migroom.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/array.h"
#include "slice/test-board.h"

static void test_moves(void **state)
{
    static const struct {
        const char *layout, *profile,
            *moves; /* "instance:from>to", to x: destroyed, '!': held; "-": none help */
    } table[] = {
        {"", "7g.40gb", ""},
        {"1g.5gb@0! 1g.5gb@1!", "3g.20gb", ""},
        /* one in either half: the one that nobody holds */
        {"1g.5gb@0! 1g.5gb@4", "3g.20gb", "1:4>1"},
        {"1g.5gb@0! 3g.20gb@4", "4g.20gb", "-"},
        {"1g.5gb@0! 1g.5gb@4", "4g.20gb", "0:0>5!"},
        /* a 2g.10gb does not go to memory slice 6 */
        {"2g.10gb@2! 1g.5gb@4! 1g.5gb@5", "3g.20gb", "1:4>0! 2:5>1"},
        {"3g.20gb@0! 1g.5gb@4!", "3g.20gb", "-"},
        {"1g.5gb@1! 2g.10gb@4!", "3g.20gb", "0:1>6!"},
        {"7g.40gb@0!", "1g.5gb", "-"},
        /* an empty one is filled, left where it is not in the way, or destroyed */
        {"3g.20gb@0= 1g.5gb@5!", "3g.20gb", ""},
        {"3g.20gb@4= 1g.5gb@0=", "4g.20gb", "1:0>x"},
        {"3g.20gb@4= 1g.5gb@2!", "2g.10gb", ""},
        {"3g.20gb@0= 1g.5gb@5!", "4g.20gb", "0:0>x"},
        {"1g.5gb@0= 1g.5gb@4= 1g.5gb@5!", "3g.20gb", "0:0>x"},
        {"3g.20gb@0= 1g.5gb@5!", "7g.40gb", "-"},
        {"2g.10gb@0= 1g.5gb@4! 1g.5gb@2!", "3g.20gb", "1:4>3!"},
        {"1g.5gb+me@0!", "1g.5gb+me", "-"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        const struct mig_board *board = board_a100();
        struct board_layout from = board_layout(board, table[i].layout);
        cleanup_text struct text text = TEXT_INIT;
        struct mig_room room = {0};
        struct mig_name name;
        struct mig_kind kind;

        assert_int_equal(migname_parse(table[i].profile, &name, NULL), 0);
        assert_int_equal(migkind_find(board, &name, &kind), 0);
        if (migroom_make(board, &from.layout, kind, from.held, from.n_held, &room))
            text_add(&text, "-");
        for (uint32_t j = 0; j < room.n_moves; j++) {
            char to[16] = "x";

            if (room.moves[j].to != MIG_START_ANY)
                snprintf(to, sizeof(to), "%u", room.moves[j].to);
            text_addf(&text, "%s%u:%u>%s%s", j ? " " : "", room.moves[j].instance,
                      room.moves[j].from, to, room.moves[j].is_held ? "!" : "");
        }
        assert_string_equal(text_string(&text), table[i].moves);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moves),
    };

    return cmocka_run_group_tests_name("slice/migroom", tests, NULL, NULL);
}
