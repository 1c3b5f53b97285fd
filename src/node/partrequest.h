// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the partitioner has under way, at most one thing at a time: a step that the driver takes, or
 * the question who uses a GPU. How it ended is remembered of the GPU (partgpu.h).
 *
 * The question goes to the kubelet first, which knows pods, and then to the driver, which knows
 * processes.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "gpu/driver.h"
#include "node/migreport.h"
#include "node/partgpus.h"
#include "plugin/podresources.h"
#include "slice/inventory.h"
#include "slice/migstep.h"

/* Borrowed, all of it; the first five functions as in partitioner.h. */
struct partrequest_setup {
    const struct inventory *machine;
    struct partgpus *gpus;
    uint64_t (*now_ms)(void *owner);
    const char *(*pod_uid)(const char *resource, const char *id, void *owner);
    int (*list_pods)(podresources_list_fn *on_listed, void *userdata, void *owner);
    int (*change)(const struct gpu_change *change, driver_changed_fn *done, void *userdata,
                  void *owner);
    void *owner;
    bool may_reboot;                /* a reset that is impossible is not the end */
    void (*on_end)(void *userdata); /* it has ended, well or not */
    void *userdata;
};

struct partrequest {
    struct partrequest_setup setup;
    bool is_busy; /* something is under way, for: */
    char uuid[GPU_UUID_SIZE];
    enum gpu_verb verb;
    enum migreport_work work;         /* what that is for the report */
    uint64_t n_steps, n_failed_steps; /* of the driver, without questions */
};

/* Nothing is to be under way for these. 0; -ENOMEM: the GPU has failed, and on_end is not called.
 */
int partrequest_step(struct partrequest *request, struct partgpu *own,
                     const struct mig_board *board, const struct mig_step *step,
                     enum migreport_work work);
int partrequest_examine(struct partrequest *request, struct partgpu *own);
