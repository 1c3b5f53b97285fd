// SPDX-License-Identifier: Apache-2.0
#include "slice/migmoves.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "slice/test-board.h"

enum { HELD_MAX = 8 };

/* One 1g.5gb in each of the memory slices 0 to 6, whose id is its slice. */
static const char full[] = "1g.5gb@0 1g.5gb@1 1g.5gb@2 1g.5gb@3 1g.5gb@4 1g.5gb@5 1g.5gb@6";

static void assert_moves(const char *wanted, const uint32_t *holding, size_t n,
                         const char *expected)
{
    const struct mig_board *board = board_a100();
    const struct mig_layout layout = board_layout(board, full).layout;
    struct device_instance instances[HELD_MAX];
    char names[HELD_MAX][32];
    const char *list[HELD_MAX];
    const struct migmoves_held held = {instances, list, n};
    cleanup_text struct text text = TEXT_INIT;
    struct mig_want want;

    for (size_t i = 0; i < n; i++) {
        instances[i] = (struct device_instance){holding[i], 0};
        snprintf(names[i], sizeof(names[i]), "pod default/p%u", holding[i]);
        list[i] = names[i];
    }
    assert_int_equal(migwant_builtin(board, wanted, &want, NULL), 0);
    migmoves_add(board, &layout, &want, &held, &text);
    assert_string_equal(text_string(&text), expected);
}

/* all-balanced is one 3g.20gb, one 2g.10gb, two 1g.5gb: the 3g.20gb has to lie at 4, because no
 * 1g.5gb can lie at 7. */
static void only_moves_that_help_are_named(void **state)
{
    const uint32_t apart[] = {1, 5}, right[] = {4, 5}, left[] = {0, 1}, three[] = {0, 1, 2};

    (void)state;
    assert_moves("all-balanced", apart, 2,
                 "; there is room for all when pod default/p5 moves from memory slice 5 to 0");
    assert_moves("all-balanced", right, 2,
                 "; there is room for all when pod default/p4 moves from memory slice 4 to 2, "
                 "pod default/p5 moves from memory slice 5 to 3");
    assert_moves("all-balanced", left, 2, "");  /* nobody has to move */
    assert_moves("all-balanced", three, 3, ""); /* there is no third 1g.5gb */
    assert_moves("all-3g.20gb", left, 2, "");   /* nor any here */
    assert_moves("all-disabled", left, 2, "");
    assert_moves("all-enabled", left, 2, "");
}

static void who_has_the_whole_gpu_cannot_move(void **state)
{
    const uint32_t held[] = {1, DEVICE_NO_INSTANCE, 5};

    (void)state;
    assert_moves("all-balanced", held, ARRAY_SIZE(held), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_moves_that_help_are_named),
        cmocka_unit_test(who_has_the_whole_gpu_cannot_move),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
