// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Our labels through node-feature-discovery: a NodeFeature object, which nfd-master turns into
 * labels of the Node.
 *
 * The CRD alone proves nothing (it stays behind when NFD is removed). Proof is the Node's
 * annotation in which nfd-master keeps the names of the labels it has set: a label that is named
 * there and stands on the Node is served. The annotation's name may have an instance in front.
 */

#include <jansson.h>

#include "nodesync/message.h"

#define NODEFEATURE_GROUP_PATH "/apis/nfd.k8s-sigs.io/v1alpha1"

/* Is the label one of those that nfd-master has set on this Node? */
bool nodefeature_serves(const json_t *node, const char *label);

/* Has NFD been at work on this Node at all? */
bool nodefeature_was_here(const json_t *node);

#define NODEFEATURE_MANAGER "nfd-master" /* under which NFD's master writes on Nodes */

/* A text that is another one after nfd-master has written on the Node; to be freed, NULL for want
 * of memory. */
char *nodefeature_trace(const json_t *node);

/* The answer to NODEFEATURE_GROUP_PATH: does the API have NodeFeatures? */
bool nodefeature_is_offered(const char *body);

/* What our Node's object is called, as gpu-feature-discovery calls its own; to be freed, NULL for
 * want of memory. */
char *nodefeature_name(const char *node_name);

struct nodefeature_owner {
    char *daemonset, *uid; /* NULL = unknown: nobody owns the object */
};

/* The object to apply; NULL for want of memory. */
json_t *nodefeature_object(const char *node_name, const char *namespace_,
                           const struct nodefeature_owner *owner, const struct sync_state *state);

/* Does the object at the server (NULL = none) say what `wanted` says? */
bool nodefeature_is_as_wanted(const json_t *current, const json_t *wanted);

/* Was it written by us, or is it gpu-feature-discovery's? */
bool nodefeature_is_ours(const json_t *current);
