// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What keeps GPUs from their layout and is nobody's fault: pods and processes that use them, and a
 * reset that is impossible and takes a reboot of the node (rebooter.h).
 *
 * A look at all GPUs is one round: partwait_begin, then what is found of each, then
 * partwait_reboot, which needs to know all GPUs that are waited for.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "node/gpuholders.h"
#include "node/migreport.h"
#include "node/partgpus.h"
#include "node/rebooter.h"
#include "slice/migstep.h"
#include "slice/migwant.h"

/* All zero = for nothing. */
struct partwait {
    bool for_pods;               /* a GPU of this round does */
    bool for_clients;            /* processes of no pod are, or were, in the way: they should not
                                    come back before the layout is made */
    bool clients_changed;        /* that did, since it was taken */
    struct rebooter_need *needs; /* the GPUs of this round that need a reboot */
    size_t n_needs, needs_capacity;
};

/* A GPU on its way. All is borrowed. */
struct partwait_way {
    struct partgpu *own;
    const struct gpu *gpu;
    const struct mig_board *board;
    const struct mig_want *want;
    const struct gpuholders *holders;
    const struct mig_next *next;
};

void partwait_deinit(struct partwait *wait);

void partwait_begin(struct partwait *wait);

/* Somebody holds what has to go. What goes is withheld; whether they are still there is to be asked
 * again. */
void partwait_for_holders(struct partwait *wait, const struct partwait_way *way,
                          struct partgpus *gpus, struct migreport *report);

/* Nobody of no pod is in the way any more. */
void partwait_end_for_clients(struct partwait *wait);

/* True if for_clients changed since this was asked last. */
bool partwait_take_clients(struct partwait *wait);

/* Its next step is a reset that is impossible: it is reported at the end of the round, with all
 * that need a reboot. False: out of memory. */
bool partwait_for_reboot(struct partwait *wait, const struct gpu *gpu);

/* The end of a round that looked at all GPUs. reboot: as rebooter_need. */
void partwait_reboot(struct partwait *wait, const struct inventory *machine, struct partgpus *gpus,
                     struct migreport *report,
                     int (*reboot)(const struct rebooter_need *needs, size_t n, struct error *err,
                                   void *owner),
                     void *owner);
