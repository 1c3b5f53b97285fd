// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The grants of this node: what Allocate gave is on the disk before the kubelet gets the answer.
 *
 * Calls that come in one turn of the loop, or while the disk is busy, share one sync. The sync runs
 * in a thread of libuv's pool: a slow disk delays the answers that wait for it, and nothing else.
 *
 * A disk that is full, read-only or hangs is no reason to fail a call: it waits, and the devices
 * that nobody holds turn Unhealthy (grants_problem), so that the scheduler looks elsewhere. Only
 * after GRANTS_PATIENCE_MS of failures is a call refused. That long nothing is lost: the kubelet
 * writes its own checkpoint to the same disk after our answer, and rejects the pod when it cannot.
 * A call that waits for a disk which does not return at all is never refused.
 *
 * Ends of grants are seen in the kubelet's pod-resources lists (ledger.h). One is asked for each
 * minute, after the kubelet wrote its checkpoint, and again soon while a grant is missing in the
 * last one; never two at once, nor more often than each GRANTS_LIST_MS.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "grant/ledger.h"
#include "plugin/podresources.h"

enum {
    GRANTS_SLOW_MS = 5000, /* a sync that takes longer is a problem of its own */
    GRANTS_RETRY_FIRST_MS = 100,
    GRANTS_RETRY_LAST_MS = 2000,
    GRANTS_PATIENCE_MS = 30000,
    GRANTS_LIST_MS = LEDGER_SETTLE_MS,
};

enum grants_outcome {
    GRANTS_UNKNOWN = 1, /* no grant has these ids */
};

struct grants;

/* Everything but the strings is borrowed and must outlive the grants. */
struct grants_setup {
    uv_loop_t *loop;
    const char *folder;         /* the journal's, and above the grants' directories */
    const char *kubelet_folder; /* of the kubelet's checkpoint */
    /* Asks the kubelet who holds what: podresources_list, or a test's. */
    int (*list)(struct podresources *podresources, podresources_list_fn *on_listed, void *userdata);
    struct podresources *podresources;
    bool keeps_directories;
    /* Ids of this resource are given out by us, now. */
    bool (*is_ours)(const char *resource, void *userdata);
    /* Ready, or another problem. */
    void (*on_state)(void *userdata);
    /* The kubelet's checkpoint may be old: send it a device list, and it writes a new one. */
    void (*on_stale_checkpoint)(void *userdata);
    void *userdata;
};

/* Begins to read the journal. */
int grants_new(const struct grants_setup *setup, struct grants **ret_grants, struct error *err);

/*
 * What waits is forgotten without on_done. A sync under way goes on, and keeps the loop alive until
 * the disk has answered. Free podresources in the same turn of the loop: it may have a question of
 * ours. NULL is fine.
 */
void grants_free(struct grants *grants);

/* The journal was read, or cannot be: then there is a problem. Do not register before. */
bool grants_is_ready(const struct grants *grants);

/* Why nothing new can be given out: a sentence; "" = it can. */
const char *grants_problem(const struct grants *grants);

/* A grant holds this id now. */
bool grants_holds(const struct grants *grants, const char *resource, const char *device_id);

/* 0 = durable; else a negative errno with a sentence. */
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

/* The caller is gone: on_done does not run. What was given stays until the kubelet drops it. */
void grants_forget(struct grants_wait *wait);

/* Once a minute. */
void grants_tick(struct grants *grants);

/* Something in the kubelet's folder changed, by that name (NULL = any). */
void grants_kubelet_changed(struct grants *grants, const char *name);

struct grants_counters {
    struct ledger_counts grants;
    uint64_t log_bytes, syncs, failed_syncs, waiting;
    double sync_seconds; /* summed up */
};
struct grants_counters grants_counters(const struct grants *grants);
