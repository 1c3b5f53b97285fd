// SPDX-License-Identifier: Apache-2.0
#include "slice/migplan.h"

#include <string.h>

struct search {
    const struct mig_board *board;
    const struct mig_layout *layout;
    const struct mig_subset *must_stay;
    uint64_t *work;
    bool found;
    struct mig_plan best;
};

/* Half a decision: of the GPU instances before some position. */
struct choice {
    struct mig_subset stays;
    uint32_t n_destroyed;    /* steps */
    struct mig_want missing; /* what is wanted and not kept */
    uint32_t n_missing;
};

/* The bins of one profile, and which GPU instance each is. */
struct bins {
    uint32_t n;
    struct mig_bin bins[MIG_INSTANCES_MAX];
    uint32_t instances[MIG_INSTANCES_MAX];
};

static uint32_t set_of(const struct mig_compute *compute)
{
    if (compute->slices > MIG_COMPUTES_MAX || compute->start > MIG_COMPUTES_MAX)
        return 0;
    return ((1U << compute->slices) - 1) << compute->start;
}

static void add_bin(const struct search *s, uint32_t position, uint32_t computes, struct bins *bins)
{
    const struct mig_instance *instance = &s->layout->instances[position];
    struct mig_bin *bin = &bins->bins[bins->n];

    *bin = (struct mig_bin){.must_fill = !computes};
    for (uint32_t j = 0; j < instance->n_computes; j++) {
        const struct mig_compute *compute = &instance->computes[j];
        struct mig_kind kind;

        if (!(computes >> j & 1) || migkind_of(s->board, instance, compute, &kind))
            continue;
        bin->taken |= set_of(compute);
        bin->used[kind.compute]++;
    }
    bins->instances[bins->n++] = position;
}

static void collect_bins(const struct search *s, const struct mig_subset *stays, uint32_t profile,
                         struct bins *ret_bins)
{
    ret_bins->n = 0;
    for (uint32_t i = 0; i < s->layout->n_instances; i++)
        if (stays->instances >> i & 1 && s->layout->instances[i].profile == profile)
            add_bin(s, i, stays->computes[i], ret_bins);
}

static void add_computes(struct mig_plan *plan, uint32_t profile, const struct bins *bins,
                         const struct mig_packing *packing)
{
    for (uint32_t i = 0; i < packing->n_items; i++) {
        const struct mig_item *item = &packing->items[i];
        bool is_new = item->bin >= bins->n;

        plan->computes[plan->n_computes++] = (struct mig_new_compute){
            .instance =
                is_new ? MIG_INSTANCES_MAX + item->bin - bins->n : bins->instances[item->bin],
            .profile = profile,
            .compute = item->compute,
            .start = item->start,
        };
    }
}

/* Packs what is missing; false if it cannot be. counts: the new GPU instances. */
static bool pack(const struct search *s, const struct choice *choice, struct mig_plan *plan,
                 uint8_t counts[MIG_GI_PROFILES_MAX])
{
    for (uint32_t i = 0; i < s->board->n_profiles; i++) {
        struct mig_packing packing;
        struct bins bins;

        collect_bins(s, &choice->stays, i, &bins);
        if (migpack(&s->board->profiles[i], bins.bins, bins.n, choice->missing.counts[i],
                    MIG_INSTANCES_MAX - bins.n, &packing) ||
            plan->n_computes + packing.n_items > MIG_COMPUTES_MAX)
            return false;
        counts[i] = (uint8_t)packing.n_added;
        plan->n_steps += packing.n_added + packing.n_items;
        add_computes(plan, i, &bins, &packing);
    }
    return true;
}

static uint32_t list_stays(const struct search *s, const struct mig_subset *stays,
                           struct mig_spot spots[MIG_INSTANCES_MAX])
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < s->layout->n_instances; i++)
        if (stays->instances >> i & 1)
            spots[n++] =
                (struct mig_spot){s->layout->instances[i].profile, s->layout->instances[i].start};
    return n;
}

/* Where they lie is known now; those of one profile are consecutive. */
static void number_new(struct mig_plan *plan)
{
    for (uint32_t i = 0; i < plan->n_computes; i++) {
        struct mig_new_compute *compute = &plan->computes[i];
        uint32_t first = 0;

        while (first < plan->fit.n_spots && plan->fit.spots[first].profile != compute->profile)
            first++;
        if (compute->instance >= MIG_INSTANCES_MAX)
            compute->instance += first;
    }
}

static void finish(struct search *s, const struct choice *choice)
{
    struct mig_plan plan = {.stays = choice->stays, .n_steps = choice->n_destroyed};
    uint8_t counts[MIG_GI_PROFILES_MAX] = {0};
    struct mig_spot spots[MIG_INSTANCES_MAX];
    uint32_t n_spots = list_stays(s, &choice->stays, spots);

    ++*s->work;
    if (!pack(s, choice, &plan, counts) || (s->found && plan.n_steps >= s->best.n_steps) ||
        migfit_place(s->board, spots, n_spots, counts, s->work, &plan.fit) == MIGFIT_NO_ROOM)
        return;
    number_new(&plan);
    s->best = plan;
    s->found = true;
}

static uint32_t all_computes(const struct mig_instance *instance)
{
    return (1U << instance->n_computes) - 1;
}

/* Keeps some compute instances of a GPU instance. False if one of them is not wanted. */
static bool keep(const struct search *s, uint32_t i, uint32_t computes, struct choice *choice)
{
    const struct mig_instance *instance = &s->layout->instances[i];

    if (instance->profile >= s->board->n_profiles)
        return false;
    choice->stays.instances |= 1U << i;
    choice->stays.computes[i] = computes;
    for (uint32_t j = 0; j < instance->n_computes; j++) {
        struct mig_kind kind;
        uint8_t *missing;

        if (!(computes >> j & 1)) {
            choice->n_destroyed++;
            continue;
        }
        if (migkind_of(s->board, instance, &instance->computes[j], &kind) == MIGKIND_ABSENT)
            return false;
        missing = &choice->missing.counts[kind.profile][kind.compute];
        if (!*missing)
            return false;
        --*missing;
        choice->n_missing--;
    }
    return true;
}

/* What is kept of the GPU instances from i on saves at most all that is missing. */
static bool can_be_best(const struct search *s, const struct choice *choice, uint32_t i)
{
    uint32_t rest = 0;

    for (; i < s->layout->n_instances; i++)
        rest += s->layout->instances[i].n_computes;
    return !s->found ||
           choice->n_destroyed + (choice->n_missing > rest ? choice->n_missing - rest : 0) <
               s->best.n_steps;
}

/* Every way for the GPU instances from i on, those that keep most first. */
static void choose(struct search *s, const struct choice *choice, uint32_t i)
{
    const struct mig_instance *instance = &s->layout->instances[i];
    uint32_t must = s->must_stay->computes[i], rest;
    struct choice next;

    if (!can_be_best(s, choice, i))
        return;
    if (i == s->layout->n_instances) {
        finish(s, choice);
        return;
    }
    rest = all_computes(instance) & ~must;
    for (uint32_t some = rest;; some = (some - 1) & rest) {
        next = *choice;
        if (keep(s, i, must | some, &next))
            choose(s, &next, i + 1);
        if (!some)
            break;
    }
    next = *choice;
    next.n_destroyed += 1 + instance->n_computes;
    if (!(s->must_stay->instances >> i & 1))
        choose(s, &next, i + 1);
}

static struct choice nothing_chosen(const struct mig_want *want)
{
    return (struct choice){.missing = *want, .n_missing = migwant_count(want)};
}

int migplan_make(const struct mig_board *board, const struct mig_layout *layout,
                 const struct mig_want *want, const struct mig_subset *must_stay, uint64_t *work,
                 struct mig_plan *ret_plan)
{
    struct search s = {.board = board, .layout = layout, .must_stay = must_stay, .work = work};
    struct choice choice = nothing_chosen(want);

    if (!migplan_exists(board, layout, want, must_stay, work))
        return MIGPLAN_NONE;
    choose(&s, &choice, 0);
    *ret_plan = s.best;
    return s.found ? 0 : MIGPLAN_NONE;
}

/* What leaves most room: nothing stays but what must. */
bool migplan_exists(const struct mig_board *board, const struct mig_layout *layout,
                    const struct mig_want *want, const struct mig_subset *must_stay, uint64_t *work)
{
    struct search s = {.board = board, .layout = layout, .must_stay = must_stay, .work = work};
    struct choice choice = nothing_chosen(want);

    for (uint32_t i = 0; i < layout->n_instances; i++)
        if (must_stay->instances >> i & 1 && !keep(&s, i, must_stay->computes[i], &choice))
            return false;
    finish(&s, &choice);
    return s.found;
}
