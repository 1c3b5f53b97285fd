// SPDX-License-Identifier: Apache-2.0
#include "bruteforce.h"

#include <string.h>

static const struct mig_profile *profile_of(const struct mig_board *board, unsigned i)
{
    return &board->profiles[i];
}

/* The engines of a profile, one after the other. */
static unsigned engine(const struct mig_profile *p, int which)
{
    switch (which) {
    case 0:
        return p->shape.multiprocessors;
    case 1:
        return p->shape.copy_engines;
    case 2:
        return p->shape.decoders;
    case 3:
        return p->shape.encoders;
    case 4:
        return p->shape.jpeg_engines;
    case 5:
        return p->shape.ofa_engines;
    default:
        return p->shape.gi_slices;
    }
}

/* All that the GPU has of an engine; 0: the board contradicts itself. */
static unsigned whole_of(const struct mig_board *board, int which)
{
    unsigned slices = 0, most = 0;

    for (unsigned i = 0; i < board->n_profiles; i++)
        if (profile_of(board, i)->shape.gi_slices > slices)
            slices = profile_of(board, i)->shape.gi_slices;
    for (unsigned i = 0; i < board->n_profiles; i++)
        if (profile_of(board, i)->shape.gi_slices == slices &&
            engine(profile_of(board, i), which) > most)
            most = engine(profile_of(board, i), which);
    for (unsigned i = 0; i < board->n_profiles; i++)
        if (profile_of(board, i)->max_count * engine(profile_of(board, i), which) > most)
            return 0;
    return most;
}

static bool shares_are_there(const struct mig_board *board, const unsigned *counts)
{
    unsigned media = 0, all = 0;

    for (unsigned i = 0; i < board->n_profiles; i++) {
        all += counts[i];
        if (counts[i] > profile_of(board, i)->max_count)
            return false;
        if (strstr(profile_of(board, i)->name, "+me"))
            media += counts[i];
    }
    for (int which = 0; which < 7; which++) {
        unsigned whole = whole_of(board, which), sum = 0;

        for (unsigned i = 0; i < board->n_profiles; i++)
            sum += counts[i] * engine(profile_of(board, i), which);
        if (whole && sum > whole)
            return false;
    }
    return media <= 1 && all <= MIG_INSTANCES_MAX;
}

static bool begins(const struct mig_board *board, unsigned profile, unsigned slot)
{
    const struct mig_profile *p = profile_of(board, profile);

    return p->starts >> slot & 1 && slot + p->slots <= board->n_slots;
}

static bool walk_fits(const struct mig_board *board, unsigned *counts, unsigned slot)
{
    unsigned left = 0;

    for (unsigned i = 0; i < board->n_profiles; i++)
        left += counts[i];
    if (!left || slot >= board->n_slots)
        return !left;
    for (unsigned i = 0; i < board->n_profiles; i++) {
        bool fits;

        if (!counts[i] || !begins(board, i, slot))
            continue;
        counts[i]--;
        fits = walk_fits(board, counts, slot + profile_of(board, i)->slots);
        counts[i]++;
        if (fits)
            return true;
    }
    return walk_fits(board, counts, slot + 1);
}

bool bruteforce_fits(const struct mig_board *board, const unsigned counts[MIG_GI_PROFILES_MAX])
{
    unsigned copy[MIG_GI_PROFILES_MAX];

    memcpy(copy, counts, sizeof(copy));
    return shares_are_there(board, counts) && walk_fits(board, copy, 0);
}

struct walk {
    const struct mig_board *board;
    const struct mig_layout *layout;
    const struct bruteforce_held *held;
    struct bruteforce_want left;
    unsigned counts[MIG_GI_PROFILES_MAX], best;
    unsigned kept; /* GPU instances of the layout that are in this arrangement */
};

static int find_existing(const struct mig_layout *layout, unsigned profile, unsigned start)
{
    for (unsigned i = 0; i < layout->n_instances; i++)
        if (layout->instances[i].profile == profile && layout->instances[i].start == start)
            return (int)i;
    return -1;
}

static void walk_slots(struct walk *w, unsigned slot, unsigned cost);

/* Which compute instance of GPU instance `existing` has that size and place? */
static int find_compute(const struct walk *w, int existing, unsigned start, unsigned slices)
{
    const struct mig_instance *instance = &w->layout->instances[existing];

    for (unsigned j = 0; j < instance->n_computes; j++)
        if (instance->computes[j].start == start && instance->computes[j].slices == slices)
            return (int)j;
    return -1;
}

struct inside {
    unsigned profile, next_slot;
    int existing;
    unsigned n, kept; /* compute instances in this arrangement; bit j: one of the layout's */
    unsigned sizes[8 + 1];
};

static void close_instance(struct walk *w, const struct inside *in, unsigned cost)
{
    const struct mig_instance *instance =
        in->existing < 0 ? NULL : &w->layout->instances[in->existing];

    if (!in->n)
        return;
    for (unsigned j = 0; instance && j < instance->n_computes; j++) {
        if (in->kept >> j & 1)
            continue;
        if (w->held->computes[in->existing] >> j & 1)
            return;
        cost++;
    }
    w->counts[in->profile]++;
    w->kept |= instance ? 1U << in->existing : 0;
    walk_slots(w, in->next_slot, cost + !instance);
    w->kept &= ~(instance ? 1U << in->existing : 0);
    w->counts[in->profile]--;
}

/* Is there a compute profile of that size that may begin there, and is not used up? */
static bool has_compute(const struct walk *w, const struct inside *in, unsigned start,
                        unsigned slices)
{
    const struct mig_profile *p = profile_of(w->board, in->profile);

    for (unsigned c = 0; c < p->n_computes; c++)
        if (p->computes[c].slices == slices)
            return (!p->computes[c].starts || p->computes[c].starts >> start & 1) &&
                   in->sizes[slices] < p->computes[c].max_count;
    return false;
}

static void walk_computes(struct walk *w, struct inside in, unsigned start, unsigned cost)
{
    unsigned g = profile_of(w->board, in.profile)->shape.gi_slices;

    if (cost >= w->best)
        return;
    if (start >= g) {
        close_instance(w, &in, cost);
        return;
    }
    for (unsigned slices = 1; start + slices <= g; slices++) {
        struct inside next = in;
        int old;

        if (!w->left.counts[in.profile][slices] || !has_compute(w, &in, start, slices))
            continue;
        old = in.existing < 0 ? -1 : find_compute(w, in.existing, start, slices);
        next.n++;
        next.sizes[slices]++;
        next.kept |= old < 0 ? 0 : 1U << old;
        w->left.counts[in.profile][slices]--;
        walk_computes(w, next, start + slices, cost + (old < 0));
        w->left.counts[in.profile][slices]++;
    }
    walk_computes(w, in, start + 1, cost);
}

/* The end of an arrangement: is all there that is wanted and held? */
static void judge(struct walk *w, unsigned cost)
{
    for (unsigned i = 0; i < w->board->n_profiles; i++)
        for (unsigned slices = 0; slices <= 8; slices++)
            if (w->left.counts[i][slices])
                return;
    for (unsigned i = 0; i < w->layout->n_instances; i++) {
        if (w->kept >> i & 1)
            continue;
        if (w->held->instances[i])
            return;
        cost += 1 + w->layout->instances[i].n_computes;
    }
    if (cost < w->best && shares_are_there(w->board, w->counts))
        w->best = cost;
}

static bool wants_any(const struct walk *w, unsigned profile)
{
    for (unsigned slices = 0; slices <= 8; slices++)
        if (w->left.counts[profile][slices])
            return true;
    return false;
}

static void walk_slots(struct walk *w, unsigned slot, unsigned cost)
{
    if (cost >= w->best)
        return;
    if (slot >= w->board->n_slots) {
        judge(w, cost);
        return;
    }
    for (unsigned i = 0; i < w->board->n_profiles; i++) {
        struct inside in = {.profile = i, .next_slot = slot + profile_of(w->board, i)->slots};

        if (!wants_any(w, i) || !begins(w->board, i, slot))
            continue;
        in.existing = find_existing(w->layout, i, slot);
        walk_computes(w, in, 0, cost);
    }
    walk_slots(w, slot + 1, cost);
}

unsigned bruteforce_steps(const struct mig_board *board, const struct mig_layout *layout,
                          const struct bruteforce_want *want, const struct bruteforce_held *held)
{
    struct walk w = {
        .board = board, .layout = layout, .held = held, .left = *want, .best = BRUTEFORCE_NEVER};

    walk_slots(&w, 0, 0);
    return w.best;
}

static bool computes_are_legal(const struct mig_profile *p, const struct mig_instance *instance)
{
    unsigned taken = 0, sizes[8 + 1] = {0};

    for (unsigned j = 0; j < instance->n_computes; j++) {
        const struct mig_compute *compute = &instance->computes[j];
        unsigned c = compute->profile;

        for (unsigned s = 0; s < compute->slices; s++) {
            if (compute->start + s >= p->shape.gi_slices || taken >> (compute->start + s) & 1)
                return false;
            taken |= 1U << (compute->start + s);
        }
        if (c >= p->n_computes || p->computes[c].slices != compute->slices ||
            ++sizes[compute->slices] > p->computes[c].max_count)
            return false;
    }
    return true;
}

bool bruteforce_is_legal(const struct mig_board *board, const struct mig_layout *layout)
{
    unsigned taken = 0, counts[MIG_GI_PROFILES_MAX] = {0};

    for (unsigned i = 0; i < layout->n_instances; i++) {
        const struct mig_instance *instance = &layout->instances[i];
        const struct mig_profile *p = profile_of(board, instance->profile);

        if (instance->profile >= board->n_profiles ||
            !begins(board, instance->profile, instance->start))
            return false;
        for (unsigned s = 0; s < p->slots; s++) {
            if (taken >> (instance->start + s) & 1)
                return false;
            taken |= 1U << (instance->start + s);
        }
        counts[instance->profile]++;
        if (!computes_are_legal(p, instance))
            return false;
    }
    return shares_are_there(board, counts);
}
