// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The fewest steps from one layout to another: which instances stay, which are created and where.
 *
 * A step destroys or creates one instance, a compute or a GPU instance. All that is destroyed goes
 * first, so any order within creates the same. The search is exact: each GPU instance is destroyed,
 * or stays with some of its compute instances; what is missing is packed into the instances that
 * stay and the fewest new ones (migpack.h), and these are placed (migfit.h).
 */

#include <stdbool.h>
#include <stdint.h>

#include "slice/mig.h"
#include "slice/migfit.h"
#include "slice/migpack.h"
#include "slice/migwant.h"

/* Instances of a layout, by their positions in it. */
struct mig_subset {
    uint32_t instances;                   /* bit i: GPU instance i */
    uint32_t computes[MIG_INSTANCES_MAX]; /* bit j: compute instance j of that GPU instance */
};

/* A compute instance that is created. */
struct mig_new_compute {
    uint32_t instance; /* position in the layout; MIG_INSTANCES_MAX + i: in the new spot i */
    uint32_t profile;  /* position in the board */
    uint32_t compute, start;
};

struct mig_plan {
    uint32_t n_steps;
    struct mig_subset stays;
    struct mig_fit fit; /* the new GPU instances */
    uint32_t n_computes;
    struct mig_new_compute computes[MIG_COMPUTES_MAX];
};

enum migplan_outcome {
    MIGPLAN_NONE = 1, /* what must stay leaves no room, or is not wanted */
};

/* `must_stay` has the GPU instance of each compute instance in it. Modes are not looked at. 0 or
 * MIGPLAN_NONE. *work grows by the arrangements looked at. */
int migplan_make(const struct mig_board *board, const struct mig_layout *layout,
                 const struct mig_want *want, const struct mig_subset *must_stay, uint64_t *work,
                 struct mig_plan *ret_plan);

/* Whether there is a plan: the same, but much faster. */
bool migplan_exists(const struct mig_board *board, const struct mig_layout *layout,
                    const struct mig_want *want, const struct mig_subset *must_stay,
                    uint64_t *work);
