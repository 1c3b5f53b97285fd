// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A machine as a MIG layout would make it: the steps that lead there, GPU by GPU, and the devices
 * that it then has. Nothing is changed but the description of the machine.
 */

#include <stddef.h>

#include "base/error.h"
#include "base/problem.h"
#include "cli/migchoice.h"
#include "cli/migpods.h"
#include "cli/target.h"
#include "slice/migwant.h"

struct migpreview_gpu {
    size_t gpu;    /* position in the inventory */
    char *devices; /* "7 x 1g.5gb" */
    char *waits;   /* who keeps it from that at present, see migholders_add_wait; NULL = nobody */
    char **steps;  /* sentences, in their order */
    size_t n_steps, capacity;
};

struct migpreview {
    const char *layout;          /* its name, borrowed; NULL: none is assumed */
    struct migpreview_gpu *gpus; /* those that have the layout, by index */
    size_t n_gpus, capacity;
    bool may_wait; /* of some of them, see migpreview_may_wait */
};

#define MIGPREVIEW_INIT \
    {                   \
        .layout = NULL  \
    }

void migpreview_deinit(struct migpreview *preview);
#define cleanup_migpreview cleanup(migpreview_deinit)

/*
 * Gives the machine's GPUs the chosen layout. A GPU that cannot have it, or that no entry of the
 * label is for, stays as it is, with a note. pods: of this node; NULL = not known. 0; -ENOENT: no
 * GPU can, or there is no such built-in layout; -ENOMEM.
 */
int migpreview_make(struct target *target, const struct migchoice *choice,
                    const struct podrecords *pods, struct problems *problems,
                    struct migpreview *ret_preview, struct error *err);

/* True if a GPU that such steps change has MIG devices, which somebody may hold. */
bool migpreview_may_wait(const struct gpu *gpu, const struct migpreview_gpu *on);

/*
 * Adds the steps of one GPU to `on`, as if nothing were in use, and takes *layout through them. 0,
 * -ENOENT with the end of a sentence about the GPU, -ENOMEM.
 */
int migpreview_walk(const struct gpu *gpu, const struct mig_board *board,
                    const struct mig_want *want, struct migpreview_gpu *on,
                    struct mig_layout *layout, struct error *err);

void migpreview_gpu_deinit(struct migpreview_gpu *on);

/* True if both GPUs get there by the same steps. */
bool migpreview_equal(const struct migpreview_gpu *a, const struct migpreview_gpu *b);
