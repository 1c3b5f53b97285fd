// SPDX-License-Identifier: Apache-2.0
#pragma once

/* For tests: two A100s, which a driver changes step by step as it is asked to. */

#include <stdbool.h>
#include <stdint.h>

#include "gpu/gpu.h"
#include "slice/inventory.h"

enum { N_GPUS = 2 };

struct hardware {
    struct inventory machine;
    struct gpu gpus[N_GPUS];
    struct device devices[N_GPUS * MIG_INSTANCES_MAX * MIG_INSTANCES_MAX];
    struct mig_board board;
    bool needs_reset;            /* to change the mode, as on Ampere */
    int reset_outcome;           /* of each reset, which does nothing then; 0 = it works */
    const char *no_reset;        /* why a reset is refused; NULL = it works */
    unsigned n_steps;            /* taken */
    unsigned fails_at;           /* the step with this number fails; 0 = none */
    int outcome;                 /* with this, */
    bool fails_after;            /* after it was taken */
    bool refuses[GPU_VERBS];     /* each such step fails with it */
    uint32_t watcher_pid;        /* a process that has all of GPU 0 open; 0 = none */
    uint32_t tenant_pid;         /* one that uses GPU 0's first instance */
    unsigned n_destroyed_in_use; /* must stay 0 */
    struct device_instance used; /* an instance of GPU 0 that a pod has; its ids, or NO_INSTANCE */
};

/* MIG is off on both. */
void hardware_init(struct hardware *hw);

/* Fails the test if it is not there. */
struct mig_instance *hardware_find(struct mig_layout *layout, uint32_t id);

/* The GPU that a request is about. */
struct gpu *hardware_gpu(struct hardware *hw, const struct gpu_change *step);

/* What the driver makes of its request: outcome, reason, and who is in the way or was asked for. */
void hardware_work(struct hardware *hw, const struct gpu_change *step, struct gpu_changed *changed);
