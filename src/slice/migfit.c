// SPDX-License-Identifier: Apache-2.0
#include "slice/migfit.h"

#include <assert.h>
#include <string.h>

#include "slice/migpack.h"

enum { N_SETS = 1 << MIG_SLOTS_MAX, N_BUDGETS = 7 };

static_assert(MIG_SLOTS_MAX <= 16, "a bit for every set of memory slices, for every instance");

struct budgets {
    uint64_t of[N_BUDGETS];
};

static struct budgets budgets_of(const struct mig_profile *profile)
{
    const struct device_shape *shape = &profile->shape;

    return (struct budgets){{shape->gi_slices, shape->multiprocessors, shape->copy_engines,
                             shape->decoders, shape->encoders, shape->jpeg_engines,
                             shape->ofa_engines}};
}

static bool has_media_extensions(const struct mig_profile *profile)
{
    struct mig_name name;

    return migname_parse(profile->name, &name, NULL) == 0 && str_starts_with(name.suffix, "+me");
}

/* What the whole GPU has; UINT64_MAX where the board's numbers disagree. */
static struct budgets whole_of(const struct mig_board *board)
{
    struct budgets whole = {{0}};

    for (uint32_t i = 0; i < board->n_profiles; i++) {
        struct budgets one = budgets_of(&board->profiles[i]);
        bool is_larger = one.of[0] > whole.of[0], is_equal = one.of[0] == whole.of[0];

        for (int b = 0; b < N_BUDGETS; b++)
            if (is_larger || (is_equal && one.of[b] > whole.of[b]))
                whole.of[b] = one.of[b];
    }
    for (uint32_t i = 0; i < board->n_profiles; i++) {
        struct budgets one = budgets_of(&board->profiles[i]);

        for (int b = 0; b < N_BUDGETS; b++)
            if (one.of[b] * board->profiles[i].max_count > whole.of[b])
                whole.of[b] = UINT64_MAX;
    }
    return whole;
}

/* Where they lie is another question. */
static bool within_budgets(const struct mig_board *board, const uint32_t counts[])
{
    struct budgets whole = whole_of(board), sum = {{0}};
    uint32_t n = 0, n_media = 0;

    for (uint32_t i = 0; i < board->n_profiles; i++) {
        struct budgets one = budgets_of(&board->profiles[i]);

        n += counts[i];
        if (counts[i] > board->profiles[i].max_count || n > MIG_INSTANCES_MAX)
            return false;
        if (has_media_extensions(&board->profiles[i]))
            n_media += counts[i];
        for (int b = 0; b < N_BUDGETS; b++) {
            sum.of[b] += one.of[b] * counts[i];
            if (sum.of[b] > whole.of[b])
                return false;
        }
    }
    return n_media <= 1;
}

struct search {
    const struct mig_board *board;
    struct mig_fit fit; /* its spots are what is to be placed */
    uint64_t *work;
    uint64_t seen[MIG_INSTANCES_MAX][N_SETS / 64]; /* sets that lead nowhere, by instance */
};

static uint32_t set_of(const struct mig_profile *profile, uint32_t start)
{
    return ((1U << profile->slots) - 1) << start;
}

static bool may_start(const struct mig_board *board, const struct mig_profile *profile,
                      uint32_t start)
{
    return start < board->n_slots && profile->slots <= board->n_slots - start &&
           (!profile->starts || profile->starts >> start & 1);
}

static bool place(struct search *s, uint32_t i, uint32_t occupied)
{
    const struct mig_profile *profile;
    uint64_t *seen, bit = 1ULL << occupied % 64;

    if (i == s->fit.n_spots)
        return true;
    profile = &s->board->profiles[s->fit.spots[i].profile];
    seen = &s->seen[i][occupied / 64];
    if (*seen & bit)
        return false;
    *seen |= bit;
    ++*s->work;
    for (uint32_t start = 0; start < s->board->n_slots; start++) {
        if (!may_start(s->board, profile, start) || occupied & set_of(profile, start))
            continue;
        s->fit.spots[i].start = start;
        if (place(s, i + 1, occupied | set_of(profile, start)))
            return true;
    }
    return false;
}

/* Larger ones first: they have the fewest places. */
static void list_spots(struct search *s, const uint8_t counts[MIG_GI_PROFILES_MAX])
{
    for (uint32_t slots = s->board->n_slots; slots; slots--)
        for (uint32_t i = 0; i < s->board->n_profiles; i++)
            for (uint32_t n = s->board->profiles[i].slots == slots ? counts[i] : 0; n; n--)
                s->fit.spots[s->fit.n_spots++].profile = i;
}

/* Of the instances that stay; those of a profile that the board does not know lie nowhere. */
static uint32_t occupy(const struct mig_board *board, const struct mig_spot *stay, uint32_t n_stay,
                       uint32_t sums[MIG_GI_PROFILES_MAX])
{
    uint32_t occupied = 0;

    for (uint32_t i = 0; i < n_stay; i++) {
        if (stay[i].profile >= board->n_profiles)
            continue;
        sums[stay[i].profile]++;
        if (may_start(board, &board->profiles[stay[i].profile], stay[i].start))
            occupied |= set_of(&board->profiles[stay[i].profile], stay[i].start);
    }
    return occupied;
}

static uint32_t add_counts(const struct mig_board *board, const uint8_t counts[],
                           uint32_t sums[MIG_GI_PROFILES_MAX])
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < board->n_profiles; i++) {
        sums[i] += counts[i];
        n += counts[i];
    }
    return n;
}

int migfit_place(const struct mig_board *board, const struct mig_spot *stay, uint32_t n_stay,
                 const uint8_t counts[MIG_GI_PROFILES_MAX], uint64_t *work, struct mig_fit *ret_fit)
{
    uint32_t sums[MIG_GI_PROFILES_MAX] = {0}, n, occupied;
    struct search s;

    if (board->n_slots > MIG_SLOTS_MAX)
        return MIGFIT_NO_ROOM;
    occupied = occupy(board, stay, n_stay, sums);
    n = add_counts(board, counts, sums);
    if (!within_budgets(board, sums))
        return MIGFIT_NO_ROOM;
    s.board = board;
    s.work = work;
    memset(&s.fit, 0, sizeof(s.fit));
    for (uint32_t i = 0; i < n; i++)
        memset(s.seen[i], 0, ((1U << board->n_slots) + 7) / 8);
    list_spots(&s, counts);
    if (s.fit.n_spots != n || !place(&s, 0, occupied))
        return MIGFIT_NO_ROOM;
    *ret_fit = s.fit;
    return 0;
}

/* The GPU instances that the devices need. False: more than there can be. */
static bool count_instances(const struct mig_board *board, const struct mig_want *want,
                            uint8_t ret_counts[MIG_GI_PROFILES_MAX])
{
    memset(ret_counts, 0, MIG_GI_PROFILES_MAX);
    for (uint32_t i = 0; i < board->n_profiles; i++) {
        struct mig_packing packing;

        if (migpack(&board->profiles[i], NULL, 0, want->counts[i], MIG_INSTANCES_MAX, &packing))
            return false;
        ret_counts[i] = (uint8_t)packing.n_added;
    }
    return true;
}

int migfit_place_want(const struct mig_board *board, const struct mig_spot *stay, uint32_t n_stay,
                      const struct mig_want *want, uint64_t *work, struct mig_fit *ret_fit)
{
    uint8_t counts[MIG_GI_PROFILES_MAX];

    if (!count_instances(board, want, counts))
        return MIGFIT_NO_ROOM;
    return migfit_place(board, stay, n_stay, counts, work, ret_fit);
}

struct part {
    struct mig_want devices;
    uint32_t slices, n; /* of these */
};

struct largest {
    const struct mig_board *board;
    const struct mig_spot *stay;
    uint32_t n_stay;
    const struct mig_want *want;
    uint64_t *work;
    struct part best;
};

static bool is_larger(const struct part *a, const struct part *b)
{
    return a->slices != b->slices ? a->slices > b->slices : a->n > b->n;
}

/* Tries the kinds from this one on, each with 0, 1, 2 ... devices while they fit. */
static void enlarge(struct largest *l, uint32_t kind, struct part part)
{
    uint32_t profile = kind / MIG_CI_PROFILES_MAX, compute = kind % MIG_CI_PROFILES_MAX;
    struct mig_fit fit;

    if (profile == l->board->n_profiles) {
        if (is_larger(&part, &l->best))
            l->best = part;
        return;
    }
    enlarge(l, kind + 1, part);
    while (part.devices.counts[profile][compute] < l->want->counts[profile][compute]) {
        part.devices.counts[profile][compute]++;
        part.slices += l->board->profiles[profile].computes[compute].slices;
        part.n++;
        if (migfit_place_want(l->board, l->stay, l->n_stay, &part.devices, l->work, &fit))
            return;
        enlarge(l, kind + 1, part);
    }
}

void migfit_largest(const struct mig_board *board, const struct mig_spot *stay, uint32_t n_stay,
                    const struct mig_want *want, uint64_t *work, struct mig_want *ret_part)
{
    struct largest l = {.board = board, .stay = stay, .n_stay = n_stay, .want = want, .work = work};

    l.best.devices.enabled = want->enabled;
    enlarge(&l, 0, (struct part){.devices.enabled = want->enabled});
    *ret_part = l.best.devices;
}
