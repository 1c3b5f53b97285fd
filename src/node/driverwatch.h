// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the driver's helper reports, written into the facts: the machine, and why the driver is not
 * available. XID events, probes, hangs and lost devices become the health of each device, which
 * outlives the agent in a file; while a device is unhealthy it is probed until it is well.
 */

#include <uv.h>

#include "base/error.h"
#include "config/config.h"
#include "gpu/driver.h"
#include "node/facts.h"
#include "node/publisher.h"

struct driverwatch;

struct driverwatch_setup {
    uv_loop_t *loop;
    struct facts *facts;                /* borrowed */
    struct publisher *publisher;        /* borrowed; gets the events */
    void (*on_machine)(void *userdata); /* facts.machine became known, or changed */
    void (*on_health)(void *userdata);  /* a device became healthy or unhealthy */
    /* The driver is not available, and never was. */
    void (*on_no_driver)(void *userdata);
    /* No GPU can be reached, or one can again; see reach.h. Also called when nothing changed. */
    void (*on_reach)(bool is_lost, void *userdata);
    void *userdata;
};

/*
 * Reads the flags that choose XIDs, and the file with the health that the agent before us saw: what
 * the flags switch off of it does not count, and is logged. Lends facts.health. Nothing runs before
 * driverwatch_start. 0 or -ENOMEM.
 */
int driverwatch_new(const struct driverwatch_setup *setup, struct driverwatch **ret_watch,
                    struct error *err);

/* Starts the helper. */
int driverwatch_start(struct driverwatch *watch, struct error *err);

/* Where the configuration has the driver's root; before the start, and whenever the configuration
 * changes. With another root than before the helper starts again. */
int driverwatch_look_below(struct driverwatch *watch, const struct config *config,
                           struct error *err);

/* As driver_change; a MIG device that the step removes is no fault. done runs with -ECANCELED from
 * within driverwatch_free. */
int driverwatch_change(struct driverwatch *watch, const struct gpu_change *change,
                       uint64_t deadline_ms, driver_changed_fn *done, void *userdata);

/* Ends the helper; no callback runs any more. NULL is fine. */
void driverwatch_free(struct driverwatch *watch);
