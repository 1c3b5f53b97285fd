// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Brings the GPUs of this node into a layout, step by step (slice/migstep.h): what is as wanted
 * stays, and what a pod or a process has is not touched. The driver is asked for the layout again
 * after each step, so the next one follows from what is there.
 */

#include <stdbool.h>

#include "cli/migchoice.h"
#include "gpu/gpu.h"
#include "grant/places.h"

struct migapply {
    const struct migchoice *choice; /* borrowed */
    bool skip_reset;
    bool debug;
    struct places places; /* of the files that tell which pods have devices */
    struct gpu_driver *driver;
    struct inventory machine;
    unsigned n_pending;         /* GPUs whose mode waits for a reset that was not to be done */
    unsigned n_devices_pending; /* MIG devices that can only be created after it */
};

/* Opens the driver and reads the machine. 0 or a negative errno; deinit either way. */
int migapply_init(struct migapply *apply, struct error *err);
void migapply_deinit(struct migapply *apply);

/* True if every GPU that the choice concerns is as wanted (mode_only: has the mode). */
bool migapply_is_done(const struct migapply *apply, bool mode_only);

/* Before anything is changed: whether every GPU can have what is wanted of it. Tells why not. 0 or
 * a negative errno. */
int migapply_check(const struct migapply *apply, struct error *err);

/* Takes every GPU there. Each is tried, and told of when it fails. 0 or a negative errno. */
int migapply_run(struct migapply *apply, bool mode_only, struct error *err);
