// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What is kept of a Node whose MIG devices have names: the members of the API's object that tell
 * which pods may run on it, what it offers, and what its agent writes about two names for one
 * device (gpuslice.mig.names: both). Of a Node without such devices nothing is. Pure.
 */

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"
#include "slice/namedemand.h"

#define NAMENODE_STRATEGY "nvidia.com/mig.strategy" /* "single", "mixed" */
#define NAMENODE_PRODUCT  "nvidia.com/gpu.product"
#define NAMENODE_STATE    "nvidia.com/mig.config.state"
#define NAMENODE_POOL     "gpuslice.dev/mig-names"        /* from the agent */
#define NAMENODE_DEMAND   "gpuslice.dev/mig-names-demand" /* for the agent */

/* Nodes with a strategy: others have no MIG device to offer. */
#define NAMENODE_QUERY "labelSelector=nvidia.com%2Fmig.strategy%20in%20%28single%2Cmixed%29"

/* {} for a Node of which nothing is kept; NULL without memory. */
json_t *namenode_reduce(const json_t *node);

/* The functions below also take the API's object. "" for one that is not there. */
const char *namenode_label(const json_t *node, const char *key);

/* NULL = it has none. */
const char *namenode_demand(const json_t *node);

/* The two names of its devices, each with the slices that are free for it. False: there is no such
 * pool, or its agent's annotation cannot be read. */
bool namenode_pool(const json_t *node, struct namedemand *ret_pool);

bool namenode_is_ready(const json_t *node);

/* Of that resource, however many are in use. */
json_int_t namenode_capacity(const json_t *node, const char *resource);

/* The first resource that it has whose name begins so; NULL = none. */
const char *namenode_find_resource(const json_t *node, const char *prefix);
