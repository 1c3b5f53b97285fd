// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Compute instances in GPU instances of one profile: an exact search for the fewest GPU instances
 * that have to be added.
 */

#include <stdbool.h>
#include <stdint.h>

#include "slice/mig.h"

enum { MIG_COMPUTES_MAX = 8 }; /* of a GPU; no GPU has more compute slices */

/* A GPU instance and what is already in it. */
struct mig_bin {
    uint32_t taken;                    /* bit i: compute slice i */
    uint8_t used[MIG_CI_PROFILES_MAX]; /* compute instances, by position in `computes` */
    bool must_fill;                    /* it has none, and one has to get into it */
};

struct mig_item {
    uint32_t bin; /* position in the bins; n_bins and more: added ones */
    uint32_t compute, start;
};

struct mig_packing {
    uint32_t n_added, n_items;
    struct mig_item items[MIG_COMPUTES_MAX];
};

enum migpack_outcome {
    MIGPACK_NO_ROOM = 1, /* not with at most `max_added` GPU instances more */
};

/* Puts counts[compute] compute instances into the bins and into as few more as possible. */
int migpack(const struct mig_profile *profile, const struct mig_bin *bins, uint32_t n_bins,
            const uint8_t counts[MIG_CI_PROFILES_MAX], uint32_t max_added,
            struct mig_packing *ret_packing);
