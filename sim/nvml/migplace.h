// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Where a driver puts the instances of a GPU, and what else has room: pure, on the board of its
 * model and the layout as it is.
 *
 * A GPU instance needs its memory slices, its engines, and to be no more than its profile's count.
 * Where the caller names no place, the driver takes the free one that leaves the most places of all
 * profiles free, the lowest of these. NVIDIA does not publish the rule; this one gives what
 * `nvidia-smi mig -cgi` prints for an A100 and an H100: 1g at 6, 4, 5, 0, 1, 2, 3; 3g at 4; 2g
 * at 4.
 *
 * The id of a GPU instance follows from its place, as with real drivers: the whole GPU is 0, its
 * halves 1 and 2, its quarters 3 to 6, its eighths 7 to 14.
 */

#include "slice/mig.h"

enum {
    MIGPLACE_IDS = 15,          /* of GPU instances: 0 to 14 */
    MIGPLACE_ANY = UINT32_MAX,  /* the driver chooses the place */
    MIGPLACE_NO_ROOM = 1,       /* outcome */
    MIGPLACE_UNKNOWN_PLACE = 2, /* outcome: the profile has no such placement */
};

/* The id of an instance of that profile, which starts there. Less than MIGPLACE_IDS. */
uint32_t migplace_id(const struct mig_board *board, uint32_t profile, uint32_t start);

/* Where an instance of that profile would be created: 0, MIGPLACE_NO_ROOM or
 * MIGPLACE_UNKNOWN_PLACE. */
int migplace_find(const struct mig_board *board, const struct mig_layout *layout, uint32_t profile,
                  uint32_t wanted_start, uint32_t *ret_start);

/* How many more of that profile have room, if nothing else is created. */
uint32_t migplace_capacity(const struct mig_board *board, const struct mig_layout *layout,
                           uint32_t profile);

/* The same for a compute instance within a GPU instance. */
int migplace_find_compute(const struct mig_board *board, const struct mig_instance *instance,
                          uint32_t profile, uint32_t wanted_start, uint32_t *ret_start);
uint32_t migplace_compute_capacity(const struct mig_board *board,
                                   const struct mig_instance *instance, uint32_t profile);

/* The places in a GPU instance where a compute instance may start, as bits. */
uint32_t migplace_compute_starts(const struct mig_board *board, const struct mig_instance *instance,
                                 uint32_t profile);

/* Into a layout, which has room for it: -ENOSPC if it has not. The ids are a driver's. */
int migplace_add(const struct mig_board *board, struct mig_layout *layout, uint32_t profile,
                 uint32_t start);
int migplace_add_compute(struct mig_instance *instance, uint32_t profile, uint32_t slices,
                         uint32_t start);
