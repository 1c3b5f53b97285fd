// SPDX-License-Identifier: Apache-2.0
#include "slice/migpack.h"

#include <string.h>

/*
 * What goes into a GPU instance is a part of all that is wanted. With at most 8 compute instances
 * wanted there are at most 2^8 different parts, so each is a number (a part's numbers of each kind
 * in mixed radix, the largest kind first), and what fits is a row of flags over all parts. That
 * keeps the search exact and short, whatever a driver reports.
 */
enum { N_PARTS = 1 << MIG_COMPUTES_MAX, N_BINS = 2 * MIG_INSTANCES_MAX };

/* Wanted compute instances of one profile. */
struct kind {
    uint32_t compute; /* position in the profile's `computes` */
    uint32_t count;
    uint32_t unit;  /* number of the part that is one of these */
    uint32_t items; /* position of the first of them in the packing */
};

/* from[start]: the parts that fit into the slices of the GPU instance from there on. */
struct room {
    bool from[MIG_COMPUTES_MAX + 1][N_PARTS];
};

struct search {
    const struct mig_profile *profile;
    uint32_t n_slices; /* of a GPU instance */
    uint32_t n_kinds, n_parts;
    struct kind kinds[MIG_COMPUTES_MAX]; /* largest first */
    uint32_t n_bins;                     /* with those added */
    struct mig_bin bins[N_BINS];
    struct room rooms[N_BINS];
    bool left[N_BINS + 1][N_PARTS]; /* the parts that the bins from there on take */
    struct mig_packing packing;
};

static uint32_t number_of(const struct kind *kind, uint32_t part)
{
    return part / kind->unit % (kind->count + 1);
}

static bool contains(const struct search *s, uint32_t whole, uint32_t part)
{
    for (uint32_t i = 0; i < s->n_kinds; i++)
        if (number_of(&s->kinds[i], part) > number_of(&s->kinds[i], whole))
            return false;
    return part <= whole;
}

/* False if there are more, or larger ones, than any GPU has. */
static bool list_kinds(struct search *s, const uint8_t counts[MIG_CI_PROFILES_MAX])
{
    uint32_t total = 0;

    for (uint32_t i = 0; i < MIG_CI_PROFILES_MAX; i++)
        total += counts[i];
    if (total > MIG_COMPUTES_MAX)
        return false;

    for (uint32_t slices = s->n_slices; slices; slices--)
        for (uint32_t i = 0; i < s->profile->n_computes; i++)
            if (counts[i] && s->profile->computes[i].slices == slices) {
                s->kinds[s->n_kinds++] = (struct kind){i, counts[i], 0, s->packing.n_items};
                s->packing.n_items += counts[i];
            }
    s->n_parts = 1;
    for (uint32_t i = s->n_kinds; i--;) {
        s->kinds[i].unit = s->n_parts;
        s->n_parts *= s->kinds[i].count + 1;
    }
    return s->packing.n_items == total;
}

static bool may_start(const struct search *s, const struct mig_bin *bin, const struct kind *kind,
                      uint32_t start)
{
    const struct mig_ci_profile *profile = &s->profile->computes[kind->compute];

    return (!profile->starts || profile->starts >> start & 1) &&
           start + profile->slices <= s->n_slices &&
           !(bin->taken >> start & ((1U << profile->slices) - 1));
}

/* How one of the kind can begin here when the part fits from here on; 0 if it cannot. */
static uint32_t behind(const struct search *s, const struct mig_bin *bin, const struct room *room,
                       const struct kind *kind, uint32_t part, uint32_t start)
{
    uint32_t end = start + s->profile->computes[kind->compute].slices;

    if (!number_of(kind, part) || !may_start(s, bin, kind, start) ||
        !room->from[end][part - kind->unit])
        return 0;
    return end;
}

static bool fits_from(const struct search *s, const struct mig_bin *bin, const struct room *room,
                      uint32_t part, uint32_t start)
{
    if (start == s->n_slices)
        return !part;
    if (room->from[start + 1][part])
        return true;
    for (uint32_t i = 0; i < s->n_kinds; i++)
        if (behind(s, bin, room, &s->kinds[i], part, start))
            return true;
    return false;
}

static void measure(const struct search *s, const struct mig_bin *bin, struct room *room)
{
    for (uint32_t start = s->n_slices + 1; start--;)
        for (uint32_t part = 0; part < s->n_parts; part++)
            room->from[start][part] = fits_from(s, bin, room, part, start);
}

static bool may_hold(const struct search *s, uint32_t bin, uint32_t part)
{
    if (!s->rooms[bin].from[0][part] || (s->bins[bin].must_fill && !part))
        return false;
    for (uint32_t i = 0; i < s->n_kinds; i++) {
        const struct kind *kind = &s->kinds[i];

        if (s->bins[bin].used[kind->compute] + number_of(kind, part) >
            s->profile->computes[kind->compute].max_count)
            return false;
    }
    return true;
}

/* Of `whole`, for the bins from this one on: the part with most of the largest kinds that goes into
 * it while the rest takes what is left; n_parts if there is none. */
static uint32_t choose_part(const struct search *s, uint32_t bin, uint32_t whole)
{
    for (uint32_t part = whole + 1; part--;)
        if (s->left[bin + 1][whole - part] && may_hold(s, bin, part) && contains(s, whole, part))
            return part;
    return s->n_parts;
}

static bool can_pack(struct search *s)
{
    for (uint32_t part = 0; part < s->n_parts; part++)
        s->left[s->n_bins][part] = !part;
    for (uint32_t bin = s->n_bins; bin--;)
        for (uint32_t part = 0; part < s->n_parts; part++)
            s->left[bin][part] = choose_part(s, bin, part) < s->n_parts;
    return s->left[0][s->n_parts - 1];
}

/* Larger ones lie in front. */
static void fill(struct search *s, uint32_t bin, uint32_t part)
{
    uint32_t start = 0;

    while (part) {
        uint32_t end = 0, i = 0;

        while (i < s->n_kinds &&
               !(end = behind(s, &s->bins[bin], &s->rooms[bin], &s->kinds[i], part, start)))
            i++;
        if (end) {
            s->packing.items[s->kinds[i].items++] =
                (struct mig_item){.bin = bin, .compute = s->kinds[i].compute, .start = start};
            part -= s->kinds[i].unit;
        }
        start = end ? end : start + 1;
    }
}

static void add_bin(struct search *s, const struct mig_bin *bin)
{
    s->bins[s->n_bins] = *bin;
    measure(s, bin, &s->rooms[s->n_bins]);
    s->n_bins++;
}

int migpack(const struct mig_profile *profile, const struct mig_bin *bins, uint32_t n_bins,
            const uint8_t counts[MIG_CI_PROFILES_MAX], uint32_t max_added,
            struct mig_packing *ret_packing)
{
    struct search s;
    uint32_t whole;

    s.profile = profile;
    s.n_slices = profile->shape.gi_slices;
    s.n_kinds = s.n_bins = 0;
    memset(&s.packing, 0, sizeof(s.packing));
    if (s.n_slices > MIG_COMPUTES_MAX || !list_kinds(&s, counts))
        return MIGPACK_NO_ROOM;

    for (uint32_t i = 0; i < n_bins; i++)
        add_bin(&s, &bins[i]);
    while (!can_pack(&s)) {
        if (s.packing.n_added == max_added || s.packing.n_added == s.packing.n_items ||
            s.n_bins == N_BINS)
            return MIGPACK_NO_ROOM;
        add_bin(&s, &(struct mig_bin){.must_fill = true});
        s.packing.n_added++;
    }

    whole = s.n_parts - 1;
    for (uint32_t bin = 0; bin < s.n_bins; bin++) {
        uint32_t part = choose_part(&s, bin, whole);

        fill(&s, bin, part);
        whole -= part;
    }
    *ret_packing = s.packing;
    return 0;
}
