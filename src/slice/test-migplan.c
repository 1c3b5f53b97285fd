// SPDX-License-Identifier: Apache-2.0
#include "slice/migplan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/array.h"
#include "slice/migheld.h"
#include "slice/test-board.h"

/* "stay 0 1, new 3g.20gb@4"; the compute instances only where they do not fill a new instance. */
static void describe(const struct mig_board *board, const struct board_layout *from,
                     const struct mig_plan *plan, struct text *text)
{
    for (uint32_t i = 0; i < from->layout.n_instances; i++)
        if (plan->stays.instances >> i & 1)
            text_addf(text, "%s%u", text->length ? " " : "", i);
    for (uint32_t i = 0; i < plan->fit.n_spots; i++)
        text_addf(text, "%s+%s@%u", text->length ? " " : "",
                  board->profiles[plan->fit.spots[i].profile].name, plan->fit.spots[i].start);
    for (uint32_t i = 0; i < plan->n_computes; i++) {
        const struct mig_new_compute *new = &plan->computes[i];

        if (new->instance < MIG_INSTANCES_MAX)
            text_addf(text, " %u+%uc", new->instance,
                      board->profiles[new->profile].computes[new->compute].slices);
    }
}

static void test_plans(void **state)
{
    static const struct {
        const char *from, *want; /* '!': must stay */
        uint32_t n_steps;
        const char *plan; /* what stays, what is new; NULL: none */
    } table[] = {
        {"", "", 0, ""},
        {"3g.20gb@0 3g.20gb@4", "3g.20gb 3g.20gb", 0, "0 1"},
        /* one instance goes: its compute instance and itself; one comes */
        {"1g.5gb@0 3g.20gb@4", "3g.20gb 3g.20gb", 4, "1 +3g.20gb@0"},
        {"1g.5gb@0 3g.20gb@4", "3g.20gb", 2, "1"},
        /* wherever it lies, what is wanted stays */
        {"1g.5gb@3 1g.5gb@6", "1g.5gb 1g.5gb 2g.10gb", 2, "0 1 +2g.10gb@0"},
        {"1g.5gb@0 1g.5gb@4", "3g.20gb 1g.5gb 1g.5gb", 6, "0 +3g.20gb@4 +1g.5gb@1"},
        /* an empty instance is filled, or destroyed */
        {"3g.20gb@0=", "3g.20gb", 1, "0 0+3c"},
        {"3g.20gb@0=", "1g.5gb", 3, "+1g.5gb@0"},
        /* within a GPU instance */
        {"3g.20gb@0=1", "1c.3g.20gb 2c.3g.20gb", 1, "0 0+2c"},
        /* what must stay leaves no room, or is not wanted */
        {"1g.5gb@0!", "4g.20gb 1g.5gb", 0, NULL},
        {"1g.5gb@0!", "2g.10gb", 0, NULL},
        {"1g.5gb@0!", "3g.20gb 1g.5gb", 2, "0 +3g.20gb@4"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        const struct mig_board *board = board_a100();
        struct board_layout from = board_layout(board, table[i].from);
        struct mig_want want = board_want(board, table[i].want);
        cleanup_text struct text text = TEXT_INIT;
        struct mig_held held;
        struct mig_subset must;
        struct mig_plan plan;
        uint64_t work = 0;

        migheld_collect(&from.layout, from.held, from.n_held, &held);
        must = migheld_stay(&held, 0);
        assert_int_equal(migplan_exists(board, &from.layout, &want, &must, &work),
                         table[i].plan != NULL);
        assert_int_equal(migplan_make(board, &from.layout, &want, &must, &work, &plan),
                         table[i].plan ? 0 : MIGPLAN_NONE);
        if (!table[i].plan)
            continue;
        describe(board, &from, &plan, &text);
        assert_string_equal(text_string(&text), table[i].plan);
        assert_int_equal(plan.n_steps, table[i].n_steps);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plans),
    };

    return cmocka_run_group_tests_name("slice/migplan", tests, NULL, NULL);
}
