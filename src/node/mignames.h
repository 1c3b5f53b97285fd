// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which of its two names each MIG device of this node has (gpuslice.mig.names: both).
 *
 * slice/namepool.h decides, from what pods hold, the configuration, and what pods wait for. That a
 * controller writes into an annotation of our Node: the agent reads no pods of the cluster.
 *
 * A device that changes its name is announced under neither for MIGNAMES_SETTLE_MS, so that the
 * kubelet has read that it is gone under the one before it is there under the other. An Allocate
 * that comes too late all the same is refused (allocation.h).
 *
 * Before anything is free, it is known what pods hold: from the grant log, and from the kubelet's
 * first list, which has pods of an earlier device plugin too. Without a grant log no device
 * changes its name.
 */

#include <uv.h>

#include "base/text.h"
#include "node/facts.h"

#define MIGNAMES_ANNOTATION "gpuslice.dev/mig-names-demand"

/*
 * What the controller must know to share demand out comes from another annotation of the Node,
 * gpuslice.dev/mig-names, which has the form of the demand: the two names, each with the number of
 * slices that it would have if all free devices had it. So it stays the same while devices change
 * their names, and a Node without it has no such pool.
 */

enum {
    MIGNAMES_SETTLE_MS = 1000, /* a kubelet reads its stream immediately */
    /* How long free devices stay where pods waited: one that was just bound to this node is not
     * waited for any more, and its Allocate is still to come. */
    MIGNAMES_REST_MS = 10000,
    MIGNAMES_PATIENCE_MS = 30000, /* for the kubelet's first list */
};

struct mignames;

struct mignames_setup {
    uv_loop_t *loop;
    const struct facts *facts; /* borrowed */
    /* The devices (of facts.offer) that are marked are to be announced again. */
    void (*on_changed)(const bool *devices, void *userdata);
    void *userdata;
};

/* 0 or -ENOMEM. */
int mignames_new(const struct mignames_setup *setup, struct mignames **ret_names);

/* NULL is allowed, here and below. */
void mignames_free(struct mignames *names);

/* For an offer that is not in force yet: its devices keep the names that they have in facts.offer.
 */
void mignames_begin(struct mignames *names, struct offer *next);

/* The offer in force, what pods hold or the health of a device may have changed. */
void mignames_touch(struct mignames *names);

/* A list of what pods hold was taken over. */
void mignames_seen(struct mignames *names);

/* Adds the value of gpuslice.dev/mig-names; nothing where no device has two names. */
void mignames_add_free(const struct facts *facts, struct text *out);

/* The value of the annotation; NULL = the Node does not have it. */
void mignames_demand(struct mignames *names, const char *value);
