// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The health of each device, from what the driver reports: XID events, probes, hangs, what is
 * missing. It outlives the agent in a file; while a device is unhealthy it is probed until it is
 * well. Who removes the file by hand clears the faults seen so far.
 *
 * Each input logs what it found, and calls on_change when a device became healthy or unhealthy.
 */

#include <uv.h>

#include "base/error.h"
#include "base/lograte.h"
#include "config/agentflags.h"
#include "health/health.h"
#include "health/healthfile.h"
#include "health/xid.h"

struct healthwatch_setup {
    uv_loop_t *loop;
    const struct agent_flags *flags;                 /* borrowed */
    void (*probe)(const char *uuid, void *userdata); /* a device is to be probed */
    void (*on_change)(void *userdata);
    void *userdata;
};

struct healthwatch {
    struct healthwatch_setup setup;
    struct health health;
    struct healthfile file;
    struct xid_filter xid_filter;
    uv_timer_t timer;                /* while a device is unhealthy: when to probe again */
    struct lograte_keys logged_xids; /* a failing GPU repeats its XID many times a second */
    void (*on_closed)(void *userdata);
};

/*
 * Reads the flags that choose XIDs, and the file with the health that the agent before us saw: what
 * the flags switch off of it does not count, and is logged. 0 or -ENOMEM; after that, close it.
 */
int healthwatch_init(struct healthwatch *watch, const struct healthwatch_setup *setup,
                     struct error *err);

/* on_closed runs when the timer is closed; then deinit. */
void healthwatch_close(struct healthwatch *watch, void (*on_closed)(void *userdata));
void healthwatch_deinit(struct healthwatch *watch);

/* --- inputs --- */

/*
 * What the driver lists, and the machine that was made of it (machine.h). The result goes to
 * healthwatch_apply, once the machine is applied: only then are there devices to announce.
 */
int healthwatch_inventory(struct healthwatch *watch, const struct inventory *seen,
                          const struct inventory *machine);

/* Devices left the machine. The result as above. */
int healthwatch_forget(struct healthwatch *watch, const struct inventory *machine);

void healthwatch_apply(struct healthwatch *watch, int outcome);

void healthwatch_event(struct healthwatch *watch, const struct gpu_event *event);

/* See driver.h. */
void healthwatch_probed(struct healthwatch *watch, const char *uuid, int outcome,
                        const struct gpu_probe *probe, const char *reason);

/* The GPU reports XID events (reason ""), or does not. */
void healthwatch_reports(struct healthwatch *watch, const char *uuid, const char *reason);

/* uuid: of the call's GPU; "" = of none. */
void healthwatch_hang(struct healthwatch *watch, const char *call, const char *uuid);

/* The driver is not available. */
void healthwatch_unavailable(struct healthwatch *watch, const char *reason);
