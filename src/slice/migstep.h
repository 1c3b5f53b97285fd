// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The next step from the layout that a GPU has to the one that is wanted.
 *
 *     actual layout + wanted + what is held  ->  next step
 *
 * Called again with what the driver reports after each step. Nothing is remembered in between:
 * after a crash, a reboot or somebody else's change the next step follows from what is there. Each
 * step is the first of a shortest sequence, so fewer remain after it.
 *
 * Always:
 *  - An instance that is held is not destroyed, nor its GPU instance; a GPU of which anything is
 *    held changes no mode and is not reset.
 *  - A layout with the wanted devices stays as it is, wherever they lie. Only GPU instances without
 *    a compute instance, which nobody can use, are removed from it.
 *  - Nothing is destroyed before the rest can be done without waiting: a GPU that waits keeps its
 *    layout.
 */

#include <stddef.h>
#include <stdint.h>

#include "slice/device.h"
#include "slice/mig.h"
#include "slice/migfit.h"
#include "slice/migpack.h"
#include "slice/migwant.h"

enum mig_step_kind {
    MIG_STEP_DONE,
    MIG_STEP_SET_MODE,        /* `enable`; afterwards `pending` is that, on Hopper `enabled` too */
    MIG_STEP_RESET,           /* the GPU, so that the pending mode becomes the current one */
    MIG_STEP_DESTROY_COMPUTE, /* `compute` of `instance` */
    MIG_STEP_DESTROY_GPU,     /* `instance`, which has no compute instance */
    MIG_STEP_CREATE_GPU,      /* of `profile`, at `start` */
    MIG_STEP_CREATE_COMPUTE,  /* of `profile` and `compute_profile`, in `instance`, at `start` */
    MIG_STEP_WAIT,            /* until those in `blockers` have ended */
    MIG_STEP_IMPOSSIBLE,      /* for `reason` */
};

struct mig_step {
    enum mig_step_kind kind;
    bool enable;
    uint32_t instance, compute;        /* ids of the driver */
    uint32_t profile, compute_profile; /* positions in the board and in the profile */
    uint32_t start; /* memory slice, or compute slice in the GPU instance; MIG_START_ANY */
    bool is_ahead;  /* for texts: `instance` is one that a plan creates, its id is a guess */
};

enum { MIG_BLOCKERS_MAX = 64 };

struct mig_next {
    struct mig_step step;
    uint32_t n_steps; /* this one and those after it; after a wait: all. No mode, no reset */
    /* Positions in `held`: all that hold the fewest instances whose end makes the layout possible.
     */
    uint32_t n_blockers, blockers[MIG_BLOCKERS_MAX];
    /* Compute instances that are destroyed, now or after the wait: to be offered to nobody. */
    uint32_t n_going;
    struct device_instance going[MIG_COMPUTES_MAX];
    char reason[384]; /* WAIT, IMPOSSIBLE: the end of a sentence about the GPU, "it ..." */
};

/*
 * `held`: what pods or processes hold; {3, DEVICE_NO_INSTANCE}: some of GPU instance 3, and
 * {DEVICE_NO_INSTANCE, DEVICE_NO_INSTANCE}: the GPU, so all of it. Instances that are not there do
 * not count.
 */
void migstep_next(const struct mig_board *board, const struct mig_layout *actual,
                  const struct mig_want *want, const struct device_instance *held, size_t n_held,
                  struct mig_next *ret_next);

/* What the layout is after the step, for showing steps in advance: as with a driver that takes the
 * lowest free id, and that changes the mode at once or (needs_reset) by MIG_STEP_RESET. */
void migstep_apply(const struct mig_board *board, const struct mig_step *step, bool needs_reset,
                   struct mig_layout *layout);

/* "destroy compute instance 0 of GPU instance 3 (1g.5gb)", "create GPU instance 3g.20gb at memory
 * slice 4"; the layout is the one before the step. An instance that is not there yet is named by
 * its memory slice: nobody knows the id that the driver will give it. */
void migstep_add_text(const struct mig_board *board, const struct mig_layout *layout,
                      const struct mig_step *step, struct text *text);
