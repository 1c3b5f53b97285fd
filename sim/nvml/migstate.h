// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * How the GPUs of the running machine are partitioned, and changes of it.
 *
 * Up to Ampere a new mode waits for a reset of the GPU; from Hopper on it takes effect at once.
 */

#include "nvml/state.h"

enum migstate_outcome {
    MIGSTATE_NO_ROOM = MIGPLACE_NO_ROOM,
    MIGSTATE_UNKNOWN_PLACE = MIGPLACE_UNKNOWN_PLACE,
    MIGSTATE_OFF = 3,            /* the GPU is not in MIG mode */
    MIGSTATE_IN_USE = 4,         /* by a process, or by what lies in it */
    MIGSTATE_GONE = 5,           /* no such instance (any more) */
    MIGSTATE_RESET_REQUIRED = 6, /* the mode is pending */
    MIGSTATE_RESET_REFUSED = 7,  /* FAULT_RESET: such as in a virtual machine */
};

/* One instance, as a handle refers to it. */
struct migstate_ref {
    uint32_t gpu, instance;
    uint32_t compute;                 /* STATE_NO_INSTANCE: the GPU instance */
    uint32_t generation, generation2; /* of the GPU instance, of the compute instance */
};

/* As it is now; empty while the mode is off. */
void migstate_read(const struct state *state, unsigned gpu, struct mig_layout *ret_layout);

/* A board that has everything in its bounds, whatever is in the file. */
const struct mig_board *migstate_board(const struct state *state, unsigned gpu);

/* Refers to an instance that is there: 0 or MIGSTATE_GONE. */
int migstate_refer(const struct state *state, unsigned gpu, uint32_t instance, uint32_t compute,
                   struct migstate_ref *ret_ref);

/* The instances that it refers to; NULL where they are gone. Pointers into *layout, which this
 * reads. */
struct mig_instance *migstate_resolve(const struct state *state, const struct migstate_ref *ref,
                                      struct mig_layout *layout, struct mig_compute **ret_compute);

/* 0, MIGSTATE_RESET_REQUIRED or MIGSTATE_IN_USE: in both of these the new mode is pending. */
int migstate_set_mode(struct state_file *file, unsigned gpu, bool enabled);

/* profile: position in the board; start: MIGPLACE_ANY, or a memory slice. */
int migstate_create(struct state_file *file, unsigned gpu, uint32_t profile, uint32_t start,
                    struct migstate_ref *ret_ref);
int migstate_destroy(struct state_file *file, const struct migstate_ref *ref);

/* profile: position in the GPU instance's computes; start: MIGPLACE_ANY, or a compute slice. */
int migstate_create_compute(struct state_file *file, const struct migstate_ref *instance,
                            uint32_t profile, uint32_t start, struct migstate_ref *ret_ref);
int migstate_destroy_compute(struct state_file *file, const struct migstate_ref *ref);

/* As `nvidia-smi --gpu-reset`: 0, MIGSTATE_IN_USE or MIGSTATE_RESET_REFUSED. */
int migstate_reset(struct state_file *file, unsigned gpu);

/* "MIG-" and a UUID, which depends on the GPU and the two ids; before R470 another form. */
void migstate_uuid(const struct state *state, unsigned gpu, uint32_t instance, uint32_t compute,
                   char to[STATE_UUID]);

/* The MIG device of that UUID. */
bool migstate_find(const struct state *state, const char *uuid, unsigned *ret_gpu,
                   uint32_t *ret_instance, uint32_t *ret_compute);

/* "1g.5gb+me", "1c.3g.20gb". */
void migstate_name(const struct mig_profile *profile, uint32_t slices, char to[STATE_UUID]);
