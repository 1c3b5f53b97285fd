// SPDX-License-Identifier: Apache-2.0
/*
 * Properties of the geometry on every board of the catalog, against a brute force that shares no
 * code with it. Random, from fixed seeds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "bruteforce.h"
#include "catalog/catalog.h"
#include "slice/migheld.h"
#include "slice/migplan.h"
#include "slice/migroom.h"
#include "slice/migstep.h"

static struct catalog catalog = CATALOG_INIT;
static uint64_t seed;

static unsigned random_below(unsigned n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed >> 11) % n;
}

static int load(void **state)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;

    return catalog_load(getenv("GPUSLICE_TEST_CATALOG"), &problems, &catalog);
}

static int unload(void **state)
{
    catalog_deinit(&catalog);
    return 0;
}

typedef void board_fn(const struct mig_board *board, const char *name);

/* Boards that are equal but for memory are all tried: they are few. */
static void for_each_board(board_fn *fn)
{
    unsigned n = 0;

    for (size_t i = 0; i < catalog.n_models; i++) {
        if (!catalog.models[i].mig.n_slots)
            continue;
        seed = 88172645463325252ULL + i;
        fn(&catalog.models[i].mig, catalog.models[i].name);
        n++;
    }
    assert_true(n >= 11);
}

/* All multisets of GPU instances up to one more of each than the board has. */
static void compare_fits(const struct mig_board *board, const char *name, unsigned profile,
                         unsigned counts[MIG_GI_PROFILES_MAX], unsigned total)
{
    uint8_t small[MIG_GI_PROFILES_MAX];
    uint64_t work = 0;
    struct mig_fit fit;
    bool fits = bruteforce_fits(board, counts);

    for (unsigned i = 0; i < MIG_GI_PROFILES_MAX; i++)
        small[i] = (uint8_t)counts[i];
    if ((migfit_place(board, NULL, 0, small, &work, &fit) == 0) != fits)
        fail_msg("%s: the search and the brute force disagree", name);
    if (!fits) /* then no larger one does */
        return;
    for (; profile < board->n_profiles && total <= MIG_INSTANCES_MAX; profile++) {
        counts[profile]++;
        compare_fits(board, name, profile, counts, total + 1);
        counts[profile]--;
    }
}

static void fit_on(const struct mig_board *board, const char *name)
{
    unsigned counts[MIG_GI_PROFILES_MAX] = {0};

    compare_fits(board, name, 0, counts, 0);
}

static void test_every_multiset_is_placed_if_it_fits(void **state)
{
    for_each_board(fit_on);
}

static void assert_builtin(const struct mig_board *board, const char *name, const char *expected)
{
    cleanup_text struct text text = TEXT_INIT;
    struct mig_want want;
    struct mig_fit fit;
    uint64_t work = 0;

    assert_int_equal(migwant_builtin(board, name, &want, NULL), 0);
    migwant_add_text(board, &want, &text);
    assert_string_equal(text_string(&text), expected);
    assert_int_equal(migfit_place_want(board, NULL, 0, &want, &work, &fit), 0);
}

/* What `nvidia-mig-parted generate-config` writes for each model. */
static void test_layouts_of_generated_configurations(void **state)
{
    static const struct {
        const char *model, *balanced, *all; /* what "all-<profile>" gives, separated by blanks */
    } table[] = {
        {"A30", "2g.12gb, 2 x 1g.6gb", "4:1g.6gb 1:1g.6gb+me 2:2g.12gb 1:2g.12gb+me 1:4g.24gb"},
        {"A100-SXM4-40GB", "3g.20gb, 2g.10gb, 2 x 1g.5gb",
         "7:1g.5gb 1:1g.5gb+me 4:1g.10gb 3:2g.10gb 2:3g.20gb 1:4g.20gb 1:7g.40gb"},
        {"A100-SXM4-80GB", "3g.40gb, 2g.20gb, 2 x 1g.10gb",
         "7:1g.10gb 1:1g.10gb+me 4:1g.20gb 3:2g.20gb 2:3g.40gb 1:4g.40gb 1:7g.80gb"},
        {"H100-80GB-HBM3", "3g.40gb, 2g.20gb, 2 x 1g.10gb",
         "7:1g.10gb 1:1g.10gb+me 4:1g.20gb 3:2g.20gb 2:3g.40gb 1:4g.40gb 1:7g.80gb"},
        {"H100-NVL", "3g.47gb, 2g.24gb, 2 x 1g.12gb",
         "7:1g.12gb 1:1g.12gb+me 4:1g.24gb 3:2g.24gb 2:3g.47gb 1:4g.47gb 1:7g.94gb"},
        {"H100-96GB-HBM3", "3g.48gb, 2g.24gb, 2 x 1g.12gb",
         "7:1g.12gb 1:1g.12gb+me 4:1g.24gb 3:2g.24gb 2:3g.48gb 1:4g.48gb 1:7g.96gb"},
        {"H200", "3g.71gb, 2g.35gb, 2 x 1g.18gb",
         "7:1g.18gb 1:1g.18gb+me 4:1g.35gb 3:2g.35gb 2:3g.71gb 1:4g.71gb 1:7g.141gb"},
        {"B200", "3g.90gb, 2g.45gb, 2 x 1g.23gb",
         "7:1g.23gb 1:1g.23gb+me 4:1g.45gb 3:2g.45gb 2:3g.90gb 1:4g.90gb 1:7g.180gb"},
        {"RTX-PRO-6000-Blackwell-Server-Edition", "2g.48gb, 2 x 1g.24gb",
         "4:1g.24gb 1:1g.24gb+me 4:1g.24gb+gfx 1:1g.24gb+me.all 4:1g.24gb-me 2:2g.48gb "
         "2:2g.48gb+gfx 1:2g.48gb+me.all 2:2g.48gb-me 1:4g.96gb 1:4g.96gb+gfx"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        const struct gpu_model *model = catalog_find_model(&catalog, table[i].model);
        char copy[256], *rest = copy, *word, builtin[64], expected[64];

        assert_non_null(model);
        assert_builtin(&model->mig, "all-balanced", table[i].balanced);
        snprintf(copy, sizeof(copy), "%s", table[i].all);
        while ((word = strsep(&rest, " "))) {
            char *profile = strchr(word, ':') + 1;

            snprintf(builtin, sizeof(builtin), "all-%s", profile);
            if (strchr(builtin, '+'))
                *strchr(builtin, '+') = '.';
            snprintf(expected, sizeof(expected), *word == '1' ? "%s" : "%2$.1s x %1$s", profile,
                     word);
            assert_builtin(&model->mig, builtin, expected);
        }
    }
}

/* A driver, as far as a test needs one. It refuses what a driver refuses. */
struct machine {
    const struct mig_board *board;
    const char *name;
    struct mig_layout layout;
    bool needs_reset;
    struct bruteforce_held held; /* by position, as long as the layout is not changed */
    struct device_instance list[MIG_HELD_MAX];
    size_t n_list;
};

static bool is_listed(const struct machine *m, uint32_t instance, uint32_t compute)
{
    for (size_t i = 0; i < m->n_list; i++)
        if ((m->list[i].gpu == instance || m->list[i].gpu == DEVICE_NO_INSTANCE) &&
            (m->list[i].compute == compute || m->list[i].compute == DEVICE_NO_INSTANCE))
            return true;
    return false;
}

static void refresh_held(struct machine *m)
{
    memset(&m->held, 0, sizeof(m->held));
    for (uint32_t i = 0; i < m->layout.n_instances; i++)
        for (uint32_t j = 0; j < m->layout.instances[i].n_computes; j++)
            if (is_listed(m, m->layout.instances[i].id, m->layout.instances[i].computes[j].id)) {
                m->held.computes[i] |= 1U << j;
                m->held.instances[i] = true;
            }
}

static void count_held(const struct machine *m, unsigned *ret_n)
{
    *ret_n = 0;
    for (uint32_t i = 0; i < MIG_INSTANCES_MAX; i++)
        *ret_n += (unsigned)__builtin_popcount(m->held.computes[i]);
}

/* Makes a step, and fails where a driver would refuse it or a pod would lose its device. */
static void make_step(struct machine *m, const struct mig_step *step)
{
    unsigned before, after;

    refresh_held(m);
    count_held(m, &before);
    if (step->kind == MIG_STEP_DESTROY_GPU)
        for (uint32_t i = 0; i < m->layout.n_instances; i++)
            if (m->layout.instances[i].id == step->instance)
                assert_int_equal(m->layout.instances[i].n_computes, 0);
    if (step->kind == MIG_STEP_SET_MODE || step->kind == MIG_STEP_RESET)
        assert_int_equal(m->layout.n_instances, 0);
    migstep_apply(m->board, step, m->needs_reset, &m->layout);
    refresh_held(m);
    count_held(m, &after);
    assert_true(after >= before); /* more: in a GPU instance that is held as a whole */
    if (!bruteforce_is_legal(m->board, &m->layout))
        fail_msg("%s: a step that no driver makes", m->name);
}

/* What somebody does with nvidia-smi: anything the driver allows. */
static void change_somehow(struct machine *m)
{
    struct machine next = *m;
    unsigned profile = random_below(m->board->n_profiles), i = random_below(MIG_INSTANCES_MAX);
    const struct mig_profile *p = &m->board->profiles[profile];
    struct mig_step step = {
        .kind = MIG_STEP_CREATE_GPU, .profile = profile, .start = random_below(m->board->n_slots)};

    if (random_below(2) && i < m->layout.n_instances) {
        const struct mig_instance *instance = &m->layout.instances[i];
        unsigned n = m->board->profiles[instance->profile].n_computes, c = random_below(n);

        step = (struct mig_step){.kind = MIG_STEP_CREATE_COMPUTE,
                                 .instance = instance->id,
                                 .profile = instance->profile,
                                 .compute_profile = c,
                                 .start = random_below(8)};
    } else if (!random_below(4) && i < m->layout.n_instances) {
        const struct mig_instance *instance = &m->layout.instances[i];

        step = (struct mig_step){.kind = instance->n_computes ? MIG_STEP_DESTROY_COMPUTE
                                                              : MIG_STEP_DESTROY_GPU,
                                 .instance = instance->id,
                                 .compute = instance->n_computes ? instance->computes[0].id : 0};
    } else if (!(p->starts >> step.start & 1)) {
        return;
    }
    migstep_apply(next.board, &step, false, &next.layout);
    if (!bruteforce_is_legal(next.board, &next.layout))
        return;
    if (step.kind == MIG_STEP_DESTROY_COMPUTE && is_listed(m, step.instance, step.compute))
        return;
    m->layout = next.layout;
}

/* Some layout, in any state that a program might leave behind, of which some is held. */
static void start_anywhere(struct machine *m, const struct mig_board *board, const char *name)
{
    unsigned n = random_below(300);

    memset(m, 0, sizeof(*m));
    m->board = board;
    m->name = name;
    m->layout.enabled = m->layout.pending = true;
    while (n--)
        change_somehow(m);
}

static void hold_some(struct machine *m, unsigned one_in)
{
    m->n_list = 0;
    for (uint32_t i = 0; i < m->layout.n_instances; i++)
        for (uint32_t j = 0; j < m->layout.instances[i].n_computes; j++)
            if (!random_below(one_in))
                m->list[m->n_list++] = (struct device_instance){
                    m->layout.instances[i].id, m->layout.instances[i].computes[j].id};
    refresh_held(m);
}

/* What some layout has; with `any`, or something that may well not fit. */
static void want_something(const struct mig_board *board, bool any, struct mig_want *want)
{
    struct machine other;

    do {
        start_anywhere(&other, board, "");
        migwant_of_layout(board, &other.layout, want);
    } while (migwant_count(want) == 0);
    for (unsigned n = any ? random_below(3) : 0; n; n--) {
        unsigned profile = random_below(board->n_profiles);

        want->counts[profile][random_below(board->profiles[profile].n_computes)]++;
    }
}

static struct bruteforce_want convert(const struct mig_board *board, const struct mig_want *want)
{
    struct bruteforce_want converted = {{{0}}};

    for (unsigned i = 0; i < board->n_profiles; i++)
        for (unsigned j = 0; j < board->profiles[i].n_computes; j++)
            converted.counts[i][board->profiles[i].computes[j].slices] += want->counts[i][j];
    return converted;
}

/* The fewest of what is held whose end makes the layout possible, by trying all sets. */
static unsigned fewest_blockers(const struct machine *m, const struct bruteforce_want *want)
{
    unsigned fewest = BRUTEFORCE_NEVER;

    for (unsigned released = 0; released < 1U << m->n_list; released++) {
        unsigned n = (unsigned)__builtin_popcount(released);
        struct machine some = *m;

        if (n >= fewest)
            continue;
        some.n_list = 0;
        for (unsigned i = 0; i < m->n_list; i++)
            if (!(released >> i & 1))
                some.list[some.n_list++] = m->list[i];
        refresh_held(&some);
        if (bruteforce_steps(m->board, &m->layout, want, &some.held) != BRUTEFORCE_NEVER)
            fewest = n;
    }
    return fewest;
}

static void release(struct machine *m, const struct mig_next *next)
{
    for (uint32_t i = next->n_blockers; i > 0; i--) {
        uint32_t at = next->blockers[i - 1];

        assert_true(at < m->n_list);
        memmove(&m->list[at], &m->list[at + 1], (m->n_list - at - 1) * sizeof(*m->list));
        m->n_list--;
    }
    refresh_held(m);
}

/*
 * Steps until it is done, as a program does that forgets everything after each. Each number of
 * remaining steps is the one that looking at everything finds.
 */
static void converge(struct machine *m, const struct mig_want *want, bool compare)
{
    struct bruteforce_want converted = convert(m->board, want);
    unsigned steps = 0, remaining = 0;

    for (;;) {
        struct mig_next next;

        migstep_next(m->board, &m->layout, want, m->list, m->n_list, &next);
        if (next.step.kind == MIG_STEP_DONE)
            break;
        if (next.step.kind == MIG_STEP_IMPOSSIBLE) {
            struct bruteforce_held none = {{0}};
            struct mig_layout empty = {.enabled = true};

            assert_int_equal(bruteforce_steps(m->board, &empty, &converted, &none),
                             BRUTEFORCE_NEVER);
            return;
        }
        if (next.step.kind == MIG_STEP_WAIT) {
            assert_int_equal(steps, 0);
            assert_int_equal(next.n_blockers, fewest_blockers(m, &converted));
            release(m, &next);
            continue;
        }
        if (compare && next.n_steps)
            assert_int_equal(next.n_steps,
                             bruteforce_steps(m->board, &m->layout, &converted, &m->held));
        if (remaining)
            assert_int_equal(next.n_steps, remaining - 1);
        remaining = next.n_steps;
        make_step(m, &next.step);
        assert_true(++steps < 100);
    }
    assert_true(migwant_is_met(m->board, want, &m->layout));
    for (uint32_t i = 0; i < m->layout.n_instances; i++)
        assert_true(m->layout.instances[i].n_computes > 0);
}

static void converge_on(const struct mig_board *board, const char *name)
{
    struct machine m;

    for (unsigned i = 0; i < 150; i++) {
        struct mig_want want;

        start_anywhere(&m, board, name);
        hold_some(&m, 2 + random_below(6));
        want_something(board, i % 3 == 0, &want);
        converge(&m, &want, true);
    }
}

static void test_fewest_steps_and_nothing_in_use_is_destroyed(void **state)
{
    for_each_board(converge_on);
}

/* One layout after the other, and pods that come and go. */
static void sequences_on(const struct mig_board *board, const char *name)
{
    struct machine m;

    start_anywhere(&m, board, name);
    m.needs_reset = random_below(2);
    for (unsigned i = 0; i < 60; i++) {
        struct mig_want want;

        want_something(board, i % 3 == 0, &want);
        want.enabled = random_below(8) > 0;
        want.mode_only = random_below(8) == 0;
        hold_some(&m, 1 + random_below(8));
        if (want.enabled && !want.mode_only && m.layout.enabled)
            converge(&m, &want, false);
        else
            for (unsigned n = 0;; n++) {
                struct mig_next next;

                migstep_next(board, &m.layout, &want, m.list, m.n_list, &next);
                if (next.step.kind == MIG_STEP_DONE || next.step.kind == MIG_STEP_IMPOSSIBLE)
                    break;
                if (next.step.kind == MIG_STEP_WAIT)
                    release(&m, &next);
                else
                    make_step(&m, &next.step);
                assert_true(n < 100);
            }
    }
}

/* Of some a GPU instance is held as a whole, and at times the GPU: what is known of a process that
 * is on it, or that opened its device node. */
static void hold_wholes(struct machine *m)
{
    hold_some(m, 2);
    for (size_t i = 0; i < m->n_list; i++)
        if (random_below(2))
            m->list[i].compute = DEVICE_NO_INSTANCE;
    if (!random_below(6) && m->n_list < MIG_HELD_MAX)
        m->list[m->n_list++] = (struct device_instance){DEVICE_NO_INSTANCE, DEVICE_NO_INSTANCE};
    refresh_held(m);
}

static void wholes_on(const struct mig_board *board, const char *name)
{
    struct machine m;

    start_anywhere(&m, board, name);
    for (unsigned i = 0; i < 60; i++) {
        struct mig_next next;
        struct mig_want want;

        want_something(board, false, &want);
        want.enabled = random_below(8) > 0;
        hold_wholes(&m);
        for (unsigned n = 0; n < 100; n++) {
            migstep_next(board, &m.layout, &want, m.list, m.n_list, &next);
            if (next.step.kind == MIG_STEP_DONE)
                break;
            if (next.step.kind == MIG_STEP_WAIT)
                release(&m, &next);
            else
                make_step(&m, &next.step);
        }
        assert_int_equal(next.step.kind, MIG_STEP_DONE);
    }
}

static void test_what_is_held_as_a_whole_stays(void **state)
{
    for_each_board(wholes_on);
}

static void test_sequences_of_layouts(void **state)
{
    for_each_board(sequences_on);
}

/* Between any two steps somebody else changes the layout, or what is wanted is another. */
static void interrupted_on(const struct mig_board *board, const char *name)
{
    struct machine m;

    start_anywhere(&m, board, name);
    for (unsigned i = 0; i < 20; i++) {
        struct mig_want want;

        want_something(board, false, &want);
        hold_some(&m, 6);
        for (unsigned n = 0; n < 20; n++) {
            struct mig_next next;

            if (!random_below(3))
                change_somehow(&m);
            if (!random_below(6))
                want_something(board, false, &want);
            migstep_next(board, &m.layout, &want, m.list, m.n_list, &next);
            assert_int_not_equal(next.step.kind, MIG_STEP_IMPOSSIBLE);
            if (next.step.kind == MIG_STEP_WAIT)
                release(&m, &next);
            else if (next.step.kind != MIG_STEP_DONE)
                make_step(&m, &next.step);
        }
        converge(&m, &want, false);
    }
}

static void test_interrupted_anywhere_it_still_converges(void **state)
{
    for_each_board(interrupted_on);
}

/* The fewest moves of what is held: by trying which of it may stay. */
static void room_on(const struct mig_board *board, const char *name)
{
    struct machine m;

    for (unsigned i = 0; i < 60; i++) {
        unsigned profile = random_below(board->n_profiles), n_held = 0, fewest;
        struct mig_kind kind = {profile, migkind_full_compute(&board->profiles[profile])};
        struct bruteforce_want want;
        struct mig_want counts;
        struct mig_room room;

        start_anywhere(&m, board, name);
        for (uint32_t j = 0; j < m.layout.n_instances; j++)
            if (m.layout.instances[j].n_computes != 1)
                break; /* what is moved are GPU instances, and each has one holder here */
            else
                n_held++;
        if (n_held < m.layout.n_instances)
            continue;
        hold_some(&m, 2);
        migwant_of_layout(board, &m.layout, &counts);
        counts.counts[kind.profile][kind.compute]++;
        want = convert(board, &counts);
        fewest = fewest_blockers(&m, &want);
        if (migroom_make(board, &m.layout, kind, m.list, m.n_list, &room) == MIGROOM_NONE) {
            assert_int_equal(fewest, BRUTEFORCE_NEVER);
            continue;
        }
        n_held = 0;
        for (uint32_t j = 0; j < room.n_moves; j++)
            n_held += room.moves[j].is_held;
        assert_int_equal(n_held, fewest);
    }
}

static void test_room_by_fewest_moves(void **state)
{
    for_each_board(room_on);
}

/* Work is counted in arrangements and sets of slices, so that a slow machine does not matter. */
static uint64_t most_work, most_work_fit;

static void work_on(const struct mig_board *board, const char *name)
{
    static const struct mig_subset nothing = {0};
    struct machine m;

    for (unsigned i = 0; i < 300; i++) {
        struct mig_want want, part;
        struct mig_plan plan;
        uint64_t work = 0, fit_work = 0;

        start_anywhere(&m, board, name);
        want_something(board, i % 2, &want);
        migplan_make(board, &m.layout, &want, &nothing, &work, &plan);
        migfit_largest(board, NULL, 0, &want, &fit_work, &part);
        most_work = work > most_work ? work : most_work;
        most_work_fit = fit_work > most_work_fit ? fit_work : most_work_fit;
    }
}

static void test_work_is_bounded(void **state)
{
    for_each_board(work_on);
    print_message("# at most %llu arrangements for a plan, %llu for the largest part\n",
                  (unsigned long long)most_work, (unsigned long long)most_work_fit);
    assert_true(most_work < 10000);
    assert_true(most_work_fit < 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_multiset_is_placed_if_it_fits),
        cmocka_unit_test(test_layouts_of_generated_configurations),
        cmocka_unit_test(test_fewest_steps_and_nothing_in_use_is_destroyed),
        cmocka_unit_test(test_sequences_of_layouts),
        cmocka_unit_test(test_what_is_held_as_a_whole_stays),
        cmocka_unit_test(test_interrupted_anywhere_it_still_converges),
        cmocka_unit_test(test_room_by_fewest_moves),
        cmocka_unit_test(test_work_is_bounded),
    };

    return cmocka_run_group_tests_name("geometry", tests, load, unload);
}
