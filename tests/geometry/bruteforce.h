// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What src/slice says about geometry, found by looking at everything: the oracle of
 * test-geometry.c. It shares no code with the planner, only the plain values of slice/mig.h; it
 * walks along the memory slices, from the first to the last, and at each has nothing begin, or any
 * instance.
 */

#include <stdbool.h>
#include <stdint.h>

#include "slice/mig.h"

struct bruteforce_want {
    unsigned counts[MIG_GI_PROFILES_MAX][8 + 1]; /* by profile, compute slices */
};

/* held[i] bit j: compute instance j of GPU instance i; is_held[i]: that GPU instance. */
struct bruteforce_held {
    unsigned computes[MIG_INSTANCES_MAX];
    bool instances[MIG_INSTANCES_MAX];
};

enum { BRUTEFORCE_NEVER = 10000 };

/* Whether so many GPU instances of each profile fit. */
bool bruteforce_fits(const struct mig_board *board, const unsigned counts[MIG_GI_PROFILES_MAX]);

/* The fewest steps from the layout to one that has what is wanted, no GPU instance without compute
 * instance, and all that is held. BRUTEFORCE_NEVER: there is no such layout. */
unsigned bruteforce_steps(const struct mig_board *board, const struct mig_layout *layout,
                          const struct bruteforce_want *want, const struct bruteforce_held *held);

/* Whether the instances of a layout lie where they may, and share what there is. */
bool bruteforce_is_legal(const struct mig_board *board, const struct mig_layout *layout);
