// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the controller keeps of a Node that has a slice profile: a few texts and numbers. What else
 * changes on the Node (a heartbeat, its images) is no change.
 *
 * Who can write a Node wrote it: nothing of it is taken for more than it says.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "controller/amounts.h"

enum nodeview_text {
    NODEVIEW_NAME,
    NODEVIEW_PROFILE,
    NODEVIEW_HASH,
    NODEVIEW_TYPE,     /* of instance */
    NODEVIEW_POOL,     /* the NodePool */
    NODEVIEW_CAPACITY, /* "spot" */
    NODEVIEW_PROMISE,  /* the annotation of the pool's template, promisetext.h */
    NODEVIEW_CLAIM,    /* the NodeClaim that owns it */
    NODEVIEW_CLAIM_UID,
    NODEVIEW_REASON, /* of the agent's condition */
    NODEVIEW_MESSAGE,
    NODEVIEW_TEXTS
};

enum nodeview_agent { NODEVIEW_SILENT, NODEVIEW_NOT_READY, NODEVIEW_READY };

struct nodeview {
    char *texts[NODEVIEW_TEXTS]; /* "" = the Node does not have it */
    int64_t created_s;           /* since 1970; 0 = unknown */
    bool is_ready;               /* the kubelet */
    bool is_going;               /* it is being deleted */
    bool is_closed;              /* it has the startup taint */
    bool is_kept;                /* somebody does not want it disturbed */
    enum nodeview_agent agent;
    bool is_configured_known;
    struct amounts configured;  /* by the agent's annotation */
    struct amounts allocatable; /* by the kubelet */
    json_t *taints;             /* all of them while it is closed, else NULL */
};

/* Of a Node; NULL without memory. For kube_store. */
struct nodeview *nodeview_new(const json_t *node);
bool nodeview_equal(const struct nodeview *a, const struct nodeview *b);

/* NULL is allowed. */
void nodeview_free(struct nodeview *view);

/*
 * The patch that removes the startup taint and leaves the others, if the list is still the one that
 * was seen: NULL without memory, and for a Node that has no such taint.
 */
json_t *nodeview_open_patch(const struct nodeview *view);
