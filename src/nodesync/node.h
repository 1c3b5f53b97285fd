// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Our Node as the API server returns it: the few properties we need, and the news for the agent.
 * Everything is borrowed from the object. */

#include <jansson.h>
#include <stdbool.h>

#include "nodesync/message.h"

#define NODE_MANAGER                                                             \
    "gpuslice-node" /* our field manager, for everything written about this node \
                     */

/* NULL = it has none. */
const char *node_uid(const json_t *node);

/* What the kubelet advertises of a resource: 0 = nothing, -1 = no whole number. */
int64_t node_allocatable(const json_t *node, const char *name);

/* True if both are the same version of the same Node. */
bool node_is_same(const json_t *a, const json_t *b);

/* True if the candidate is a later version than `than` (which may be NULL). What cannot be compared
 * counts as later. */
bool node_is_later(const json_t *candidate, const json_t *than);

/* A reduced copy to keep: without images, volumes and addresses. NULL without memory. */
json_t *node_keep(const json_t *node);

/* The part of the news that comes from the Node. node may be NULL: gone. 0 or -ENOMEM. */
int node_news(const json_t *node, const struct sync_setup *setup, struct sync_news *ret_news);

/* NULL if the API server accepts it; else what is wrong with it. */
const char *node_label_fault(const char *key, const char *value);
