// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Workloads: how many pods there should be, and which to create or delete.
 *
 * The controllers of a real cluster, as far as a node can see: a Deployment or ReplicaSet replaces
 * ended pods, a Job counts successes, a bare Pod is created once. A changed template replaces the
 * pods created from the old one. Replacing pods that failed is slowed down (doubling from 10 ms to
 * 1 s): real controllers create thousands of failed pods when a plugin keeps failing.
 */

#include <stdbool.h>
#include <stdint.h>

#include "pod.h"

enum { WORKLOAD_KEPT_FAILURES = 50, WORKLOAD_MAX_DELAY_MS = 1000 };

struct workload {
    struct podmanifest manifest;
    uint64_t n_made;               /* the counter used for names */
    uint64_t not_before_ms;        /* no replacement before this */
    unsigned delay_ms;             /* the last delay */
    int64_t n_succeeded, n_failed; /* finished pods of a Job */
    bool gone;                     /* deleted: removed once its pods are gone */
};

struct workloads {
    struct workload **items;
    size_t n_items, capacity;
};

void workloads_deinit(struct workloads *workloads);

struct workload *workloads_find(const struct workloads *workloads, enum manifest_kind kind,
                                const char *namespace, const char *name);

enum workload_outcome { WORKLOAD_CREATED, WORKLOAD_CONFIGURED = 1, WORKLOAD_UNCHANGED };

/* Adds or replaces; consumes the manifest and leaves it empty. An outcome, or -ENOMEM. */
int workloads_apply(struct workloads *workloads, struct podmanifest *manifest);

/*
 * Creates pods and marks pods as deleting until the counts match. Returns when to look again (ms of
 * the same clock; 0 = when something changes), and whether anything changed.
 */
uint64_t workloads_reconcile(struct workloads *workloads, struct pods *pods, uint64_t now_ms,
                             bool *ret_changed);

/* A pod of the workload ended: a Job counts it, and a failure delays replacement. */
void workload_pod_ended(struct workloads *workloads, const struct pod *pod, uint64_t now_ms);
