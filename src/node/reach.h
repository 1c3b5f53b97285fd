// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Whether this process can still reach any GPU, or has lost the way to all of them: the driver's
 * library is gone or does not fit the kernel's driver any more, or the device nodes were taken
 * away.
 *
 * That differs from a GPU's own fault: one that fell off the bus, needs a reset, or whose driver
 * call hangs is reached as well as any process could. Pure.
 */

#include <stdbool.h>
#include <stddef.h>

#include "slice/inventory.h"

/* All zero = nothing is known. */
struct reach {
    struct reach_gpu {
        char uuid[GPU_UUID_SIZE]; /* "" = it does not tell */
        bool fails;               /* at the last attempt */
    } * gpus;
    size_t n_gpus;
    bool unavailable; /* no attempt is possible: the driver cannot be opened */
};

void reach_deinit(struct reach *reach);

/* A session with the driver began. 0 or -ENOMEM. */
int reach_inventory(struct reach *reach, const struct inventory *seen);

/* The driver cannot be opened. */
void reach_unavailable(struct reach *reach);

/* The outcome of a probe, as in gpu/driver.h. */
void reach_probe(struct reach *reach, const char *uuid, int outcome);

/* A driver call hangs, or this node has no GPU of ours. */
void reach_reset(struct reach *reach);

/* Nothing is reached. */
bool reach_is_lost(const struct reach *reach);
