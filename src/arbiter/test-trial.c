// SPDX-License-Identifier: Apache-2.0

/* Which plan is taken, by what units have done with each. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "arbiter/trial.h"
#include "base/array.h"

#define MS UINT64_C(1000000)
#define S  UINT64_C(1000000000)

enum { UNITS_MAX = 4, ALONE_PER_S = 10000 };

/* What it has of what it would have alone. */
struct progress {
    bool is_light, is_excused;
    double alone_per_s; /* 0: as many as most */
    double by_plan[TURNS_N_PLANS];
};

static double get_alone_per_s(const struct progress *progress)
{
    return progress->alone_per_s > 0 ? progress->alone_per_s : ALONE_PER_S;
}

static void make_unit(struct turns_unit *unit, const struct progress *progress, size_t n)
{
    *unit =
        (struct turns_unit){.is_active = true, .ration = {.share_ppm = (uint32_t)(1000000 / n)}};
    unit->duty = (struct duty){.is_judged = true,
                               .is_heavy = !progress->is_light,
                               .ppm = progress->is_light ? 300000 : 1000000};
    unit->pace.alone_per_s = get_alone_per_s(progress);
    unit->excused_ns = progress->is_excused ? UINT64_MAX : 0;
}

static bool is_asked(const struct trial_mix *mix, enum turns_plan plan)
{
    return mix->is_triable[plan] || (plan == TURNS_FREE && mix->may_be_unfair);
}

/* The outcome, after the trial. */
static enum turns_plan try_all(const struct progress *progress, size_t n,
                               const struct trial_mix *mix)
{
    struct turns_unit units[UNITS_MAX] = {0};
    struct trial trial = {.is_on = false};
    double done[UNITS_MAX] = {0};
    enum turns_plan plan = TURNS_FREE;
    uint64_t now_ns = S;

    for (size_t i = 0; i < n; i++) {
        make_unit(&units[i], &progress[i], n);
        units[i].next = i + 1 < n ? &units[i + 1] : NULL;
    }
    do {
        plan = trial_run(&trial, units, mix, MS, now_ns);
        assert_true(!trial.is_on || is_asked(mix, plan));
        for (size_t i = 0; i < n; i++) {
            done[i] += progress[i].by_plan[plan] * get_alone_per_s(&progress[i]) / 1000;
            units[i].n_newly_done = (uint64_t)done[i];
            done[i] -= (double)units[i].n_newly_done;
        }
        now_ns += MS;
        assert_true(now_ns < 5 * S);
    } while (trial.is_on || !trial_find(&trial));
    return plan;
}

static const struct trial_mix of_full_ones = {
    .number = 1,
    .is_triable = {[TURNS_FREE] = true, [TURNS_GIVEN] = true},
    .n_heavy = 3,
    .preset = TURNS_GIVEN};
static const struct trial_mix with_light_ones = {
    .number = 1,
    .is_triable = {[TURNS_GIVEN] = true, [TURNS_BOUNDED] = true},
    .may_be_unfair = true,
    .n_heavy = 3};

/* A phase has few turns: one more or less is no reason to let all run free. */
static void test_a_turn_more_or_less_is_fair(void **state)
{
    static const struct progress progress[] = {
        {.by_plan = {[TURNS_FREE] = 0.3, [TURNS_GIVEN] = 0.37}},
        {.by_plan = {[TURNS_FREE] = 0.3, [TURNS_GIVEN] = 0.33}},
        {.by_plan = {[TURNS_FREE] = 0.3, [TURNS_GIVEN] = 0.27}},
    };

    (void)state;
    assert_int_equal(try_all(progress, ARRAY_SIZE(progress), &of_full_ones), TURNS_GIVEN);
}

/* The hardware shares the device between it and who has the turn. */
static void test_what_an_excused_one_has_is_not_the_others(void **state)
{
    static const struct progress progress[] = {
        {.is_excused = true, .by_plan = {[TURNS_FREE] = 0.3, [TURNS_GIVEN] = 0.5}},
        {.by_plan = {[TURNS_FREE] = 0.3, [TURNS_GIVEN] = 0.25}},
        {.by_plan = {[TURNS_FREE] = 0.3, [TURNS_GIVEN] = 0.25}},
    };

    (void)state;
    assert_int_equal(try_all(progress, ARRAY_SIZE(progress), &of_full_ones), TURNS_FREE);
}

/* Beside a light one with much to do the full ones have less than their shares, and one of them
 * claims to have all that it would have alone. */
static void test_what_one_claims_is_not_what_others_have(void **state)
{
    static const struct progress progress[] = {
        {.by_plan = {[TURNS_FREE] = 0.25, [TURNS_GIVEN] = 1, [TURNS_BOUNDED] = 1}},
        {.by_plan = {[TURNS_FREE] = 0.25, [TURNS_GIVEN] = 0.167, [TURNS_BOUNDED] = 0.167}},
        {.by_plan = {[TURNS_FREE] = 0.25, [TURNS_GIVEN] = 0.167, [TURNS_BOUNDED] = 0.167}},
        {.is_light = true,
         .by_plan = {[TURNS_FREE] = 0.25, [TURNS_GIVEN] = 0.5, [TURNS_BOUNDED] = 0.5}},
    };

    (void)state;
    assert_int_equal(try_all(progress, ARRAY_SIZE(progress), &with_light_ones), TURNS_FREE);
}

/* Kernels of 20 ms are too few to tell by. A server beside them, which has a turn now and then, has
 * done enough to tell that turns are unfair to it. */
static void test_who_has_too_little_has_it_also_where_others_do_too_little(void **state)
{
    struct progress progress[] = {
        {.by_plan = {[TURNS_FREE] = 0.5, [TURNS_GIVEN] = 0.1}},
        {.alone_per_s = 50, .by_plan = {[TURNS_FREE] = 0.45, [TURNS_GIVEN] = 0.88}},
    };

    (void)state;
    assert_int_equal(try_all(progress, ARRAY_SIZE(progress), &of_full_ones), TURNS_FREE);
    progress[0].by_plan[TURNS_GIVEN] = 0.5;
    progress[1].by_plan[TURNS_GIVEN] = 0.45;
    assert_int_equal(try_all(progress, ARRAY_SIZE(progress), &of_full_ones), TURNS_GIVEN);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_turn_more_or_less_is_fair),
        cmocka_unit_test(test_what_an_excused_one_has_is_not_the_others),
        cmocka_unit_test(test_what_one_claims_is_not_what_others_have),
        cmocka_unit_test(test_who_has_too_little_has_it_also_where_others_do_too_little),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
