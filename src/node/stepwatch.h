// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Steps of re-partitioning that are under way (gpu/driver.h), and the MIG devices that they take
 * away: a device that we destroy is no fault, so the machine drops it as soon as it is gone.
 */

#include <stddef.h>
#include <stdint.h>

#include "gpu/driver.h"

struct stepwatch_step;

struct stepwatch {
    struct stepwatch_step *steps;
    /* UUIDs, for machine_update; of a step whose outcome is unknown until the next inventory. */
    const char **uuids;
    size_t n_uuids;
};

#define STEPWATCH_INIT \
    {                  \
        .steps = NULL  \
    }

/* After the driver was freed. */
void stepwatch_deinit(struct stepwatch *watch);

/* As driver_change; machine: what is there now. */
int stepwatch_change(struct stepwatch *watch, struct driver *driver,
                     const struct inventory *machine, const struct gpu_change *change,
                     uint64_t deadline_ms, driver_changed_fn *done, void *userdata);

/* An inventory was taken in. */
void stepwatch_inventory(struct stepwatch *watch);
