// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The grants of this node: an allocation is on disk before the kubelet gets the response.
 *
 * Calls that arrive in one loop iteration, or while the disk is busy, share one sync. The sync runs
 * in a thread of libuv's pool: a slow disk delays the responses that wait for it, and nothing else.
 *
 * A disk that is full, read-only or hangs does not fail a call at once: it waits, and devices that
 * no pod holds become Unhealthy (grants_problem), so that the scheduler chooses another node. After
 * GRANTS_TIMEOUT_MS of failures a call is rejected: the kubelet admits no other pod while it waits,
 * and would itself reject the pod if it cannot write its checkpoint to the same disk. A call that
 * waits for a hanging disk is never rejected.
 *
 * Ends of grants are seen in what pods hold (holdings.h, ledger.h). A list is requested every
 * minute, after the kubelet wrote its checkpoint, and again soon while a grant is missing in the
 * last one.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "grant/ledger.h"
#include "plugin/podresources.h"
#include "slice/device.h"

enum {
    GRANTS_SLOW_MS = 5000, /* a longer sync is a problem of its own */
    GRANTS_RETRY_FIRST_MS = 100,
    GRANTS_RETRY_LAST_MS = 2000,
    GRANTS_TIMEOUT_MS = 30000,
};

enum grants_outcome {
    GRANTS_UNKNOWN = 1, /* no grant has these ids */
};

struct grants;

/* Everything but the strings is borrowed and must outlive the grants. */
struct grants_setup {
    uv_loop_t *loop;
    const char *folder;         /* of the journal; parent of the grants' directories */
    const char *kubelet_folder; /* of the kubelet's checkpoint */
    /* Queries the kubelet's device assignments: podresources_list, or a test's. */
    int (*list)(struct podresources *podresources, podresources_list_fn *on_listed, void *userdata);
    struct podresources *podresources;
    /* Memory limits are served: a directory for each grant of slices (grant/grantdir.h). */
    bool keeps_directories;
    /* Whether ids of this grant's resource are currently allocated by us, or ids of its devices
     * under other names: if so, what a pod holds of it is adopted. Asked for nothing else: grants
     * outlive a service that is not registered. */
    bool (*is_ours)(const struct grant *held, void *userdata);
    /* It became ready, or the problem changed. */
    void (*on_state)(void *userdata);
    /* The kubelet's checkpoint may be outdated: send it a device list, and it writes a new one. */
    void (*on_stale_checkpoint)(void *userdata);
    /* Grants ended: what grants_hold_other and formerholds.h say may differ. NULL is allowed. */
    void (*on_freed)(void *userdata);
    /* What the kubelet lists and its checkpoint has is taken over: what pods held before this agent
     * is known, of the resources that are ours. NULL is allowed. */
    void (*on_seen)(void *userdata);
    void *userdata;
};

/* Starts reading the journal. */
int grants_new(const struct grants_setup *setup, struct grants **ret_grants, struct error *err);

/*
 * Pending calls are dropped without on_done. A running sync continues, and keeps the loop alive
 * until the disk responds. Free podresources in the same loop iteration: it may have a query of
 * ours. NULL is allowed.
 */
void grants_free(struct grants *grants);

/* The journal was read, or is unreadable: then there is a problem. Do not register before. */
bool grants_is_ready(const struct grants *grants);

/* Why no new grants are possible: a sentence; "" = they are. */
const char *grants_problem(const struct grants *grants);

/* Who holds what now. NULL for NULL. Borrowed. */
const struct ledger *grants_ledger(const struct grants *grants);

/* True if a grant currently holds this id. */
bool grants_holds(const struct grants *grants, const char *resource, const char *device_id);

/* As ledger_next_held. */
bool grants_next_held(const struct grants *grants, size_t *position, struct ledger_held *ret_held);

/* True if a grant, also one that is ending, is of this GPU or MIG device. False for NULL. */
bool grants_hold_device(const struct grants *grants, const char *uuid);

/* True if a grant, also one that is ending, is of this GPU or MIG device under that resource. */
bool grants_hold_as(const struct grants *grants, const char *uuid, const char *resource);

/* The uid of the pod to which the current grant of an id belongs, by the kubelet's checkpoint; "" =
 * not known (yet). Borrowed until the grants change. */
const char *grants_pod_uid(const struct grants *grants, const char *resource,
                           const char *device_id);

/*
 * The resource under which a grant, also one that is ending, is of a MIG device of another profile
 * that had this one's UUID: a UUID belongs to a place, so the next device in it gets the same. NULL
 * if there is none, and for grants NULL. Borrowed until the grants change.
 */
const char *grants_hold_other(const struct grants *grants, const struct device *device);

/* 0 = durable; else a negative errno with a message. */
typedef void grants_done_fn(int result, const char *why, void *userdata);

struct grants_wait;

/* Gives it an id, the time and the boot. 0, or a negative errno without randomness. */
int grants_name(const struct grants *grants, struct grant *grant);

/*
 * on_done runs once, and never inside this function, when all of them are durable and so may be
 * answered. Grants are copied. 0 with a handle that is valid until on_done runs, or -ENOMEM.
 */
int grants_give(struct grants *grants, const struct grant *given, size_t n, grants_done_fn *on_done,
                void *userdata, struct grants_wait **ret_wait);

/*
 * PreStartContainer: a container with these ids is about to start. on_done runs as above, when the
 * directories of its grants are there. 0, GRANTS_UNKNOWN or -ENOMEM.
 */
int grants_before_start(struct grants *grants, const char *resource, char *const *ids, size_t n_ids,
                        grants_done_fn *on_done, void *userdata, struct grants_wait **ret_wait);

/* How memory limits are to be kept, a word of gpuslice.memory, static: the directories say it soon.
 */
void grants_set_mode(struct grants *grants, const char *mode);

/* The caller is gone: on_done does not run. What was given stays until the kubelet drops it. */
void grants_forget(struct grants_wait *wait);

/* Calls that wait for the disk. */
size_t grants_n_waiting(const struct grants *grants);

/* on_drained runs once, from the loop, when no call waits any more. */
void grants_drain(struct grants *grants, void (*on_drained)(void *userdata), void *userdata);

/* Once a minute, and where the end of a grant is waited for. */
void grants_tick(struct grants *grants);

/* Something in the kubelet's folder changed, by that name (NULL = any). */
void grants_kubelet_changed(struct grants *grants, const char *name);

struct grants_counters {
    struct ledger_counts grants;
    uint64_t log_bytes, syncs, failed_syncs, waiting;
    double sync_seconds; /* summed up */
};
struct grants_counters grants_counters(const struct grants *grants);
