// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Our labels on the Node, applied so that nobody is fought: a label that somebody else holds with
 * another value is left to them and named; one that node-feature-discovery serves for us
 * (nodefeature.h) is left to it silently, and handed over so that it does not vanish in between.
 */

#include <jansson.h>

#include "nodesync/message.h"

struct labels_plan {
    json_t *object;  /* to apply; NULL = the Node is as it should be */
    bool force;      /* by force: it takes back what a silent nfd-master holds, and nothing else */
    json_t *release; /* a JSON patch that goes before it; NULL = none is needed */
    char **held;     /* "nvidia.com/gpu.count (nfd-master)": left to who or what holds it */
    size_t n_held, held_capacity;
    char **refused; /* a sentence for each that is no label in Kubernetes' eyes */
    size_t n_refused, refused_capacity;
};

/* What is known besides the Node and what is wanted; all borrowed. */
struct labels_known {
    /* NULL while NFD is relied on; else {label: value} that it set as we had told it before it fell
     * silent (nfd.h): these are taken back, unless somebody else holds them as well. */
    const json_t *nfd_left;
    /* {label: value} that NFD takes from another NodeFeature than ours; NULL = none. */
    const json_t *nfd_lost;
    /* {label: manager}, which the server refused although the Node names no such manager (it has
     * one for what is older than all managers); NULL = none. */
    const json_t *yielded;
};

/* 0 or -ENOMEM. */
int labels_make_plan(const json_t *node, const char *node_name, const struct sync_state *state,
                     const struct labels_known *known, struct labels_plan *ret_plan);

void labels_plan_deinit(struct labels_plan *plan);

#define cleanup_labels_plan cleanup(labels_plan_deinit)
