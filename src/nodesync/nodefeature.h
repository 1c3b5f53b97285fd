// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Our labels through node-feature-discovery: a NodeFeature object, which nfd-master turns into
 * labels of the Node.
 *
 * The CRD alone proves nothing (it remains when NFD is removed). The proof is the Node's annotation
 * in which nfd-master lists the labels it has set: a label that is listed there and is on the Node
 * is served. The annotation's name may have an instance prefix.
 */

#include <jansson.h>

#include "nodesync/message.h"

#define NODEFEATURE_GROUP_PATH "/apis/nfd.k8s-sigs.io/v1alpha1"

/* True if nfd-master has set the label on this Node. */
bool nodefeature_serves(const json_t *node, const char *label);

/* True if NFD has ever been active on this Node. */
bool nodefeature_was_here(const json_t *node);

#define NODEFEATURE_MANAGER "nfd-master" /* nfd-master's field manager on Nodes */

/* A fingerprint that changes when nfd-master writes to the Node; to be freed, NULL without
 * memory. */
char *nodefeature_trace(const json_t *node);

/* Evaluates the response to NODEFEATURE_GROUP_PATH: true if the API has NodeFeatures. */
bool nodefeature_is_offered(const char *body);

/* The name of our Node's object, as gpu-feature-discovery names its own; to be freed, NULL without
 * memory. */
char *nodefeature_name(const char *node_name);

struct nodefeature_owner {
    char *daemonset, *uid; /* NULL = unknown: the object gets no owner */
};

/* The object to apply; NULL without memory. */
json_t *nodefeature_object(const char *node_name, const char *namespace_,
                           const struct nodefeature_owner *owner, const struct sync_state *state);

/* True if the object at the server (NULL = none) matches `wanted`. */
bool nodefeature_is_as_wanted(const json_t *current, const json_t *wanted);

/* True if we wrote it, false if it is gpu-feature-discovery's. */
bool nodefeature_is_ours(const json_t *current);
