// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Whether instances fit on a board, and where.
 *
 * The search is exact. A GPU has few memory slices, so what is occupied is a set of bits: instance
 * by instance, the search looks at every set that can be reached, once each, instead of at orders
 * of creation.
 *
 * Beside memory slices, instances share what the whole GPU has (its profile with most slices):
 * multiprocessors and engines. A kind of engine counts only where the board's own numbers agree:
 * where max_count instances of a profile have more of it than the whole, it is shared. Media
 * extensions (+me, +me.all) are given to one instance.
 */

#include <stdbool.h>
#include <stdint.h>

#include "slice/mig.h"
#include "slice/migwant.h"

#define MIG_START_ANY UINT32_MAX /* the driver chooses */

/* A GPU instance and where it lies. */
struct mig_spot {
    uint32_t profile; /* position in the board's `profiles` */
    uint32_t start;   /* memory slice */
};

struct mig_fit {
    uint32_t n_spots; /* larger ones first, those of one profile by rising start */
    struct mig_spot spots[MIG_INSTANCES_MAX];
};

enum migfit_outcome {
    MIGFIT_NO_ROOM = 1,
};

/* Places counts[profile] GPU instances beside those that stay. 0 or MIGFIT_NO_ROOM. *work grows by
 * the sets of slices looked at. */
int migfit_place(const struct mig_board *board, const struct mig_spot *stay, uint32_t n_stay,
                 const uint8_t counts[MIG_GI_PROFILES_MAX], uint64_t *work,
                 struct mig_fit *ret_fit);

/* The same for MIG devices: with the fewest GPU instances. */
int migfit_place_want(const struct mig_board *board, const struct mig_spot *stay, uint32_t n_stay,
                      const struct mig_want *want, uint64_t *work, struct mig_fit *ret_fit);

/* The part of what is wanted that fits beside what stays and has the most compute slices, then the
 * most devices. */
void migfit_largest(const struct mig_board *board, const struct mig_spot *stay, uint32_t n_stay,
                    const struct mig_want *want, uint64_t *work, struct mig_want *ret_part);
