// SPDX-License-Identifier: Apache-2.0
#include "slice/migpack.h"

struct search {
    const struct mig_profile *profile;
    uint32_t n_slices; /* of a GPU instance */
    uint32_t n_bins;   /* with those added */
    struct mig_bin bins[2 * MIG_INSTANCES_MAX];
    struct mig_packing packing; /* its items are what is to be placed, largest first */
};

static uint32_t set_of(const struct mig_ci_profile *kind, uint32_t start)
{
    if (start > MIG_COMPUTES_MAX || kind->slices > MIG_COMPUTES_MAX)
        return 0;
    return ((1U << kind->slices) - 1) << start;
}

static bool fits(const struct search *s, const struct mig_bin *bin, uint32_t compute,
                 uint32_t start)
{
    const struct mig_ci_profile *kind = &s->profile->computes[compute];

    return (!kind->starts || kind->starts >> start & 1) && start + kind->slices <= s->n_slices &&
           !(bin->taken & set_of(kind, start)) && bin->used[compute] < kind->max_count;
}

static void put(const struct search *s, struct mig_bin *bin, const struct mig_item *item, bool in)
{
    bin->taken ^= set_of(&s->profile->computes[item->compute], item->start);
    bin->used[item->compute] = (uint8_t)(bin->used[item->compute] + (in ? 1 : -1));
}

static bool all_filled(const struct search *s)
{
    for (uint32_t i = 0; i < s->n_bins; i++)
        if (s->bins[i].must_fill && !s->bins[i].taken)
            return false;
    return true;
}

/* Equal items go to rising places, so that no two orders of them are tried. */
static bool place(struct search *s, uint32_t i)
{
    struct mig_item *item = &s->packing.items[i];
    uint32_t start;
    bool again;

    if (i == s->packing.n_items)
        return all_filled(s);
    again = i && item[-1].compute == item->compute;
    start = again ? item[-1].start + 1 : 0;
    for (uint32_t bin = again ? item[-1].bin : 0; bin < s->n_bins; bin++, start = 0)
        for (; start < s->n_slices; start++) {
            if (!fits(s, &s->bins[bin], item->compute, start))
                continue;
            item->bin = bin;
            item->start = start;
            put(s, &s->bins[bin], item, true);
            if (place(s, i + 1))
                return true;
            put(s, &s->bins[bin], item, false);
        }
    return false;
}

/* False if there are more, or larger ones, than any GPU has. */
static bool list_items(struct search *s, const uint8_t counts[MIG_CI_PROFILES_MAX])
{
    struct mig_packing *packing = &s->packing;
    uint32_t total = 0;

    for (uint32_t i = 0; i < MIG_CI_PROFILES_MAX; i++)
        total += counts[i];
    if (total > MIG_COMPUTES_MAX)
        return false;

    for (uint32_t slices = MIG_COMPUTES_MAX; slices; slices--)
        for (uint32_t i = 0; i < s->profile->n_computes; i++)
            for (uint32_t n = s->profile->computes[i].slices == slices ? counts[i] : 0; n; n--)
                packing->items[packing->n_items++].compute = i;
    return packing->n_items == total;
}

int migpack(const struct mig_profile *profile, const struct mig_bin *bins, uint32_t n_bins,
            const uint8_t counts[MIG_CI_PROFILES_MAX], uint32_t max_added,
            struct mig_packing *ret_packing)
{
    struct search s = {.profile = profile, .n_bins = n_bins};

    s.n_slices = profile->shape.gi_slices;
    if (s.n_slices > MIG_COMPUTES_MAX)
        return MIGPACK_NO_ROOM;

    for (uint32_t i = 0; i < n_bins; i++)
        s.bins[i] = bins[i];
    if (!list_items(&s, counts))
        return MIGPACK_NO_ROOM;
    while (!place(&s, 0)) {
        if (s.packing.n_added == max_added || s.n_bins == 2 * MIG_INSTANCES_MAX)
            return MIGPACK_NO_ROOM;
        s.bins[s.n_bins++] = (struct mig_bin){.must_fill = true};
        s.packing.n_added++;
    }
    *ret_packing = s.packing;
    return 0;
}
