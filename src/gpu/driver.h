// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The agent's side of the helper process that makes all driver calls.
 *
 * The helper runs this same program again (helper.h). Its calls may hang forever, so each starts by
 * arming a timerfd that both processes share: in normal operation nothing wakes up, and if a call
 * exceeds its deadline the timer fires in the agent's loop, which kills the helper and starts
 * another, with back-off. A helper that survives SIGKILL (stuck in the kernel) is reported and left
 * behind. No function here blocks.
 */

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "gpu/gpu.h"

struct driver;

struct driver_callbacks {
    /* The machine, each time the helper opened the driver: at the start, after a restart of the
     * helper, and in the new sessions it begins while a device does not respond. Borrowed. A device
     * whose driver call hung is listed as unusable for a while. */
    void (*on_inventory)(const struct inventory *inventory, void *userdata);
    /* The driver cannot be opened (yet); the helper keeps trying with a back-off. */
    void (*on_unavailable)(const char *reason, void *userdata);
    void (*on_event)(const struct gpu_event *event, void *userdata);
    /* A device's probe: outcome 0, GPU_LOST, or a negative errno with reason. Called when it
     * changed, and for every driver_probe. */
    void (*on_probe)(const char *uuid, int outcome, const struct gpu_probe *probe,
                     const char *reason, void *userdata);
    /* Whether a GPU is watched for events, for each in each session and when it changes: why not,
     * or "" = it is. It is tried again with a back-off. */
    void (*on_watch)(const char *uuid, const char *reason, void *userdata);
    /* `call` exceeded the deadline; the helper was killed and is being replaced. uuid "" = no
     * device known. A second call with `stuck` follows if SIGKILL has no effect within 2 s. */
    void (*on_hang)(const char *call, const char *uuid, bool stuck, void *userdata);
};

struct driver_options {
    const char *program; /* the helper's executable; NULL = /proc/self/exe */
    const char *library; /* libnvidia-ml.so.1 by path; NULL = as librarysearch.h says, */
    const char *container_driver_root, *driver_root; /* with these roots; NULL = none */
    uint64_t deadline_ms;     /* of one driver call; 0 = 10 000; three times that to start a GPU */
    uint64_t probe_period_ms; /* of the helper's own rounds over all devices; 0 = 60 000 */
};

int driver_new(uv_loop_t *loop, const struct driver_options *options,
               const struct driver_callbacks *callbacks, void *userdata, struct driver **ret_driver,
               struct error *err);

/* Terminates the helper; no callback runs any more. Memory is freed in later loop iterations. NULL
 * is allowed. */
void driver_free(struct driver *driver);

/* Requests one probe; the result comes to on_probe, unless the helper is being replaced. A device
 * that is lost or unknown makes the helper begin a new session, to see whether it came back. */
void driver_probe(struct driver *driver, const char *uuid);

/* changed: an outcome of -ECANCELED if the helper ended meanwhile; then nothing is known of the
 * step. Borrowed. */
typedef void driver_changed_fn(const struct gpu_changed *changed, void *userdata);

/*
 * Makes one step. done runs once, within deadline_ms or when the driver is freed, after
 * on_inventory has reported what the step led to. Steps are made one after the other. Before a mode
 * is changed or a GPU is reset the helper ends its own session, so that it holds nothing. 0, or
 * -errno: done does not run.
 */
int driver_change(struct driver *driver, const struct gpu_change *change, uint64_t deadline_ms,
                  driver_changed_fn *done, void *userdata);

/* outcome: as of gpu_backend.processes, or -ECANCELED if the helper ended meanwhile; with a reason
 * for every one but 0. Borrowed. */
struct driver_listed {
    int outcome;
    const char *reason;
    const struct gpu_process *items;
    size_t n_items;
    uint64_t mem_free_bytes; /* as of struct gpu_processes, and so is: */
    const char *unseen;
};

typedef void driver_listed_fn(const struct driver_listed *listed, void *userdata);

/* Asks who uses a GPU. done runs once, within deadline_ms or when the driver is freed. 0, or
 * -errno: it does not run. */
int driver_list_processes(struct driver *driver, const char *uuid, uint64_t deadline_ms,
                          driver_listed_fn *done, void *userdata);

/* The helper's process id for metrics, or 0. */
int driver_pid(const struct driver *driver);
