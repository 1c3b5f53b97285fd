// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One Node whose MIG layout waits for pods: evicts those pods, if the Node may be drained.
 *
 * One pass looks at each pod that the Node's agent names (GET), decides (drainplan.h) and evicts it
 * by the Eviction API, so that disruption budgets hold. What a budget refuses is tried again with
 * back-off, and reported on the Node. Nothing is remembered but what the API server has: after a
 * restart, or with another leader, the next pass follows from the Node and its pods.
 *
 * The Node is not cordoned. Its agent offers none of the slices concerned while it waits, so the
 * scheduler gives them to nobody, and the rest of the node can be used; and a controller that ends
 * in between leaves nothing behind that somebody would have to undo.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "controller/drainplan.h"
#include "kube/client.h"
#include "kube/recorder.h"

enum {
    DRAIN_RETRY_FIRST_MS = 5000, /* after a refusal */
    DRAIN_RETRY_LAST_MS = 60000,
    DRAIN_LOOK_MS = 30000, /* while nothing is left to evict */
};

struct drain_counters {
    uint64_t evicted, blocked, failed; /* requests */
};

/* Common to all Nodes; borrowed. */
struct drain_setup {
    uv_loop_t *loop;
    struct kube_client *client;
    struct recorder *recorder;
    enum drain_consent consent;        /* of a Node without the annotation */
    bool (*may_write)(void *userdata); /* asked before each eviction */
    void *userdata;
    struct drain_counters *counters;
};

struct drain;

struct drain *drain_new(const struct drain_setup *setup, const char *node);

/* The Node as it is now. False: it waits for no pod (any more), and the drain can be freed. */
bool drain_see(struct drain *drain, const json_t *node);

const char *drain_node(const struct drain *drain);

/* Pods of the last pass that were refused by a budget, and that are never evicted. */
void drain_count(const struct drain *drain, unsigned *blocked, unsigned *left);

/* NULL is allowed. */
void drain_free(struct drain *drain);
