// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Our labels on the Node, applied without fighting others: a label that somebody else owns with
 * another value is left to them and reported; one that node-feature-discovery sets for us
 * (nodefeature.h) is left to it silently, and handed over so that it does not vanish in between.
 */

#include <jansson.h>

#include "nodesync/message.h"

struct labels_plan {
    json_t *object;  /* to apply; NULL = the Node is as it should be */
    bool force;      /* forced: takes back what a silent nfd-master owns, and nothing else */
    json_t *release; /* a JSON patch to send first; NULL = not needed */
    char **held;     /* "nvidia.com/gpu.count (nfd-master)": left to its owner */
    size_t n_held, held_capacity;
    char **refused; /* a message for each one that is not a valid Kubernetes label */
    size_t n_refused, refused_capacity;
};

/* What is known besides the Node and the desired state; all borrowed. */
struct labels_known {
    /* NULL while NFD works; else {label: value} that it set for us before it became silent (nfd.h):
     * these are taken back, unless somebody else owns them as well. */
    const json_t *nfd_left;
    /* {label: value} that NFD takes from a NodeFeature other than ours; NULL = none. */
    const json_t *nfd_lost;
    /* {label: manager}, rejected by the server although the Node names no such manager (it has one
     * for fields older than all managers); NULL = none. */
    const json_t *yielded;
};

/* 0 or -ENOMEM. */
int labels_make_plan(const json_t *node, const char *node_name, const struct sync_state *state,
                     const struct labels_known *known, struct labels_plan *ret_plan);

void labels_plan_deinit(struct labels_plan *plan);

#define cleanup_labels_plan cleanup(labels_plan_deinit)
