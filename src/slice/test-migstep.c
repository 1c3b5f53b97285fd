// SPDX-License-Identifier: Apache-2.0
#include "slice/migstep.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "slice/test-board.h"

/* tests/geometry has the properties; here are examples to read. */

enum { MAX_STEPS = 40 };

/* All steps as short words: "-c3.0" destroys compute instance 0 of GPU instance 3, "-g3" the GPU
 * instance, "+3g.20gb@4" creates one, "+1c.3g.20gb" a compute instance. */
static void format_step(const struct mig_board *board, const struct mig_step *step,
                        struct text *text)
{
    char name[DEVICE_PROFILE_SIZE];

    text_add(text, text->length ? " " : "");
    switch (step->kind) {
    case MIG_STEP_SET_MODE:
        text_add(text, step->enable ? "on" : "off");
        break;
    case MIG_STEP_RESET:
        text_add(text, "reset");
        break;
    case MIG_STEP_DESTROY_COMPUTE:
        text_addf(text, "-c%u.%u", step->instance, step->compute);
        break;
    case MIG_STEP_DESTROY_GPU:
        text_addf(text, "-g%u", step->instance);
        break;
    case MIG_STEP_CREATE_GPU:
        text_addf(text, "+%s@%u", board->profiles[step->profile].name, step->start);
        break;
    case MIG_STEP_CREATE_COMPUTE:
        migkind_format(board, (struct mig_kind){step->profile, step->compute_profile}, name);
        text_addf(text, "+c%u:%s", step->instance, name);
        break;
    case MIG_STEP_WAIT:
        text_add(text, "wait");
        break;
    case MIG_STEP_IMPOSSIBLE:
        text_add(text, "impossible");
        break;
    case MIG_STEP_DONE:
        text_add(text, "done");
        break;
    }
}

static void assert_steps(const struct mig_board *board, struct board_layout from,
                         const struct mig_want *want, bool needs_reset, const char *expected)
{
    cleanup_text struct text text = TEXT_INIT;

    for (int i = 0; i < MAX_STEPS; i++) {
        struct mig_next next;

        migstep_next(board, &from.layout, want, from.held, from.n_held, &next);
        if (next.step.kind == MIG_STEP_DONE)
            break;
        format_step(board, &next.step, &text);
        if (next.step.kind == MIG_STEP_WAIT || next.step.kind == MIG_STEP_IMPOSSIBLE)
            break;
        migstep_apply(board, &next.step, needs_reset, &from.layout);
    }
    assert_string_equal(text_string(&text), expected);
}

static void test_steps(void **state)
{
    static const struct {
        const char *from, *want, *steps;
    } table[] = {
        {"", "", ""},
        {"", "7g.40gb", "+7g.40gb@0 +c0:7g.40gb"},
        {"", "3g.20gb 4g.20gb", "+3g.20gb@4 +c0:3g.20gb +4g.20gb@0 +c1:4g.20gb"},
        /* what is there is what is wanted, wherever it lies */
        {"3g.20gb@4 1g.5gb@3 1g.5gb@0", "1g.5gb 1g.5gb 3g.20gb", ""},
        {"3g.20gb@0", "3g.20gb", ""},
        /* one more beside others, and one fewer */
        {"1g.5gb@0 1g.5gb@1", "1g.5gb 1g.5gb 3g.20gb", "+3g.20gb@4 +c2:3g.20gb"},
        {"1g.5gb@0 1g.5gb@1 3g.20gb@4", "1g.5gb 3g.20gb", "-c1.0 -g1"},
        /* only what is in the way moves */
        {"1g.5gb@0 1g.5gb@4", "1g.5gb 1g.5gb 4g.20gb",
         "-c0.0 -g0 +4g.20gb@0 +c0:4g.20gb "
         "+1g.5gb@5 +c2:1g.5gb"},
        {"1g.5gb@0! 1g.5gb@4", "1g.5gb 1g.5gb 3g.20gb",
         "-c1.0 -g1 +3g.20gb@4 +c1:3g.20gb "
         "+1g.5gb@1 +c2:1g.5gb"},
        /* compute instances: as many in one GPU instance as go into it */
        {"", "1c.3g.20gb 1c.3g.20gb 1c.3g.20gb",
         "+3g.20gb@0 +c0:1c.3g.20gb +c0:1c.3g.20gb "
         "+c0:1c.3g.20gb"},
        {"", "2c.3g.20gb 2c.3g.20gb", "+3g.20gb@0 +c0:2c.3g.20gb +3g.20gb@4 +c1:2c.3g.20gb"},
        {"3g.20gb@0", "1c.3g.20gb 2c.3g.20gb", "-c0.0 +c0:2c.3g.20gb +c0:1c.3g.20gb"},
        {"3g.20gb@0=1!", "1c.3g.20gb 2c.3g.20gb", "+c0:2c.3g.20gb"},
        {"3g.20gb@0=1!+1", "1c.3g.20gb", "-c0.1"},
        /* left behind by a program that ended between two steps */
        {"3g.20gb@0=", "3g.20gb", "+c0:3g.20gb"},
        {"3g.20gb@0=", "", "-g0"},
        {"3g.20gb@0= 1g.5gb@4", "1g.5gb", "-g0"},
        {"2g.10gb@0=", "3g.20gb 3g.20gb", "-g0 +3g.20gb@0 +c0:3g.20gb +3g.20gb@4 +c1:3g.20gb"},
        /* nothing is destroyed before all of it can be done */
        {"1g.5gb@0 1g.5gb@1! 1g.5gb@4", "3g.20gb 3g.20gb", "wait"},
        {"1g.5gb@0 1g.5gb@4!", "7g.40gb", "wait"},
        {"1g.5gb@0!", "", "wait"},
        {"1g.5gb@0", "3g.20gb 3g.20gb 1g.5gb", "impossible"},
        {"1g.5gb@0", "1g.5gb+me 1g.5gb+me", "impossible"},
        {"1g.5gb+me@0", "1g.5gb", "-c0.0 -g0 +1g.5gb@0 +c0:1g.5gb"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct mig_want want = board_want(board_a100(), table[i].want);

        assert_steps(board_a100(), board_layout(board_a100(), table[i].from), &want, false,
                     table[i].steps);
    }
}

static void test_modes(void **state)
{
    static const struct {
        bool enabled, pending;
        const char *from, *want; /* NULL: disabled; "*": enabled, whatever there is */
        bool needs_reset;
        const char *steps;
    } table[] = {
        {false, false, "", NULL, true, ""},
        {false, false, "", "", true, "on reset"},
        {false, false, "", "", false, "on"},
        {false, false, "", "7g.40gb", true, "on reset +7g.40gb@0 +c0:7g.40gb"},
        {false, true, "", "", true, "reset"},
        {false, true, "", NULL, true, "off"},
        {true, true, "1g.5gb@0", NULL, true, "-c0.0 -g0 off reset"},
        {true, true, "1g.5gb@0", NULL, false, "-c0.0 -g0 off"},
        {true, false, "1g.5gb@0", NULL, true, "-c0.0 -g0 reset"},
        {true, false, "1g.5gb@0!", "1g.5gb", true, "on"},
        {true, true, "1g.5gb@0 1g.5gb@1!", NULL, true, "wait"},
        {true, true, "1g.5gb@0 1g.5gb@1!", "*", true, ""},
        {false, false, "", "*", true, "on reset"},
        {false, false, "", "7g.40gb 1g.5gb", true, "impossible"}, /* the mode stays */
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct board_layout from = board_layout(board_a100(), table[i].from);
        struct mig_want want = {.enabled = table[i].want != NULL, .mode_only = true};

        if (table[i].want && !str_equal(table[i].want, "*"))
            want = board_want(board_a100(), table[i].want);
        from.layout.enabled = table[i].enabled;
        from.layout.pending = table[i].pending;
        assert_steps(board_a100(), from, &want, table[i].needs_reset, table[i].steps);
    }
}

static void test_what_is_held(void **state)
{
    static const struct {
        const char *from, *want;
        struct device_instance held[3];
        size_t n_held, n_blockers;
        uint32_t blockers[3];
        const char *reason;
    } table[] = {
        /* the fewest: one of the two at either end */
        {"1g.5gb@0 2g.10gb@2 1g.5gb@4",
         "3g.20gb 1g.5gb",
         {{0, 0}, {1, 0}, {2, 0}},
         3,
         2,
         {0, 1},
         "is in use where it has to change: 1g.5gb in GPU instance 0, 2g.10gb in GPU instance 1"},
        /* all that hold what has to end */
        {"1g.5gb@0 3g.20gb@4",
         "7g.40gb",
         {{0, 0}, {1, DEVICE_NO_INSTANCE}, {1, 0}},
         3,
         3,
         {0, 1, 2},
         "is in use where it has to change: 1g.5gb in GPU instance 0, 3g.20gb in GPU instance 1"},
        /* a whole GPU holds all in it; an instance that is gone is held by nobody */
        {"1g.5gb@0",
         "7g.40gb",
         {{9, 0}, {DEVICE_NO_INSTANCE, DEVICE_NO_INSTANCE}, {0, 7}},
         3,
         1,
         {1},
         "is in use where it has to change: 1g.5gb in GPU instance 0"},
        {"1g.5gb@0=",
         "7g.40gb",
         {{0, 0}, {0, DEVICE_NO_INSTANCE}},
         2,
         1,
         {1},
         "is in use where it has to change: 1g.5gb in GPU instance 0"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct board_layout from = board_layout(board_a100(), table[i].from);
        struct mig_want want = board_want(board_a100(), table[i].want);
        struct mig_next next;

        migstep_next(board_a100(), &from.layout, &want, table[i].held, table[i].n_held, &next);
        assert_int_equal(next.step.kind, MIG_STEP_WAIT);
        assert_int_equal(next.n_blockers, table[i].n_blockers);
        for (size_t j = 0; j < next.n_blockers; j++)
            assert_int_equal(next.blockers[j], table[i].blockers[j]);
        assert_string_equal(next.reason, table[i].reason);
    }
}

/* Before and after the wait, all that is to be destroyed is known. */
static void test_what_goes(void **state)
{
    struct board_layout from = board_layout(board_a100(), "1g.5gb@0 1g.5gb@1! 1g.5gb@4");
    struct mig_want want = board_want(board_a100(), "3g.20gb 1g.5gb 1g.5gb");
    struct mig_next next;

    migstep_next(board_a100(), &from.layout, &want, from.held, from.n_held, &next);
    assert_int_equal(next.step.kind, MIG_STEP_DESTROY_COMPUTE);
    assert_int_equal(next.n_steps, 4);
    assert_int_equal(next.n_going, 1);
    assert_int_equal(next.going[0].gpu, 2);
    want = board_want(board_a100(), "7g.40gb");
    migstep_next(board_a100(), &from.layout, &want, from.held, from.n_held, &next);
    assert_int_equal(next.step.kind, MIG_STEP_WAIT);
    assert_int_equal(next.n_steps, 8);
    assert_int_equal(next.n_going, 3);
}

static void test_reasons(void **state)
{
    static const struct mig_board none = {.n_slots = 0};
    struct mig_want want = board_want(board_a30(), "4g.24gb 1g.6gb 1g.6gb");
    struct mig_want long_want = {.enabled = true};
    struct board_layout odd = board_layout(board_a100(), "");
    struct mig_layout layout = {.enabled = true, .pending = true};
    struct mig_next next;

    migstep_next(board_a30(), &layout, &want, NULL, 0, &next);
    assert_int_equal(next.step.kind, MIG_STEP_IMPOSSIBLE);
    assert_string_equal(next.reason,
                        "has no room for all that is wanted; the most of it that fits is 4g.24gb; "
                        "wanted: 4g.24gb, 2 x 1g.6gb");
    /* however long the list of what is wanted */
    for (uint32_t i = 0; i < board_a100()->n_profiles; i++)
        for (uint32_t j = 0; j < board_a100()->profiles[i].n_computes; j++)
            long_want.counts[i][j] = 100;
    migstep_next(board_a100(), &layout, &long_want, NULL, 0, &next);
    assert_int_equal(next.step.kind, MIG_STEP_IMPOSSIBLE);
    assert_non_null(strstr(next.reason, "the most of it that fits is 7 x 1c.7g.40gb; wanted: "));
    migstep_next(&none, &layout, &want, NULL, 0, &next);
    assert_int_equal(next.step.kind, MIG_STEP_IMPOSSIBLE);
    assert_string_equal(next.reason, "cannot be partitioned");
    odd.layout.n_instances = 2;
    for (int i = 0; i < 2; i++)
        odd.layout.instances[i] = (struct mig_instance){.id = 1, .profile = 4, .n_computes = 7};
    migstep_next(board_a100(), &odd.layout, &want, NULL, 0, &next);
    assert_int_equal(next.step.kind, MIG_STEP_IMPOSSIBLE);
    assert_non_null(strstr(next.reason, "14 compute instances"));
}

/* A driver newer than this program has instances of profiles that it does not know. */
static void test_unknown_profiles(void **state)
{
    struct board_layout from = board_layout(board_a100(), "1g.5gb@0 1g.5gb@4!");
    struct mig_want want = board_want(board_a100(), "1g.5gb");

    from.layout.instances[0].profile = 99;
    assert_steps(board_a100(), from, &want, false, "-c0.0 -g0");
    from.layout.instances[0].profile = 0;
    from.layout.instances[0].computes[0].profile = 99;
    assert_steps(board_a100(), from, &want, false, "-c0.0 -g0");
    from.layout.instances[1].profile = 99;
    assert_steps(board_a100(), from, &want, false, "wait");
}

static void test_sentences(void **state)
{
    struct board_layout from = board_layout(board_a100(), "3g.20gb@4=1+2");
    static const struct {
        struct mig_step step;
        const char *text;
    } table[] = {
        {{.kind = MIG_STEP_DONE}, "nothing to do"},
        {{.kind = MIG_STEP_SET_MODE, .enable = true}, "enable MIG"},
        {{.kind = MIG_STEP_SET_MODE}, "disable MIG"},
        {{.kind = MIG_STEP_RESET}, "reset the GPU"},
        {{.kind = MIG_STEP_DESTROY_COMPUTE, .compute = 1},
         "destroy compute instance 1 of GPU instance 0 (2c.3g.20gb)"},
        {{.kind = MIG_STEP_DESTROY_GPU}, "destroy GPU instance 0 (3g.20gb)"},
        {{.kind = MIG_STEP_CREATE_GPU, .profile = 2, .start = 4},
         "create a GPU instance 3g.20gb at memory slice 4"},
        {{.kind = MIG_STEP_CREATE_GPU, .profile = 2, .start = MIG_START_ANY},
         "create a GPU instance 3g.20gb"},
        {{.kind = MIG_STEP_CREATE_COMPUTE, .profile = 2, .compute_profile = 1},
         "create a compute instance 2c.3g.20gb in GPU instance 0"},
        {{.kind = MIG_STEP_CREATE_COMPUTE, .profile = 2, .compute_profile = 1, .is_ahead = true},
         "create a compute instance 2c.3g.20gb in the GPU instance at memory slice 4"},
        {{.kind = MIG_STEP_WAIT}, "wait for what is in use"},
        {{.kind = MIG_STEP_IMPOSSIBLE}, "stop: not possible"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        cleanup_text struct text text = TEXT_INIT;

        migstep_add_text(board_a100(), &from.layout, &table[i].step, &text);
        assert_string_equal(text_string(&text), table[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps),        cmocka_unit_test(test_modes),
        cmocka_unit_test(test_what_is_held), cmocka_unit_test(test_what_goes),
        cmocka_unit_test(test_reasons),      cmocka_unit_test(test_unknown_profiles),
        cmocka_unit_test(test_sentences),
    };

    return cmocka_run_group_tests_name("slice/migstep", tests, NULL, NULL);
}
