// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * gpuslice.taints on the Node.
 *
 * Node.spec.taints is one atomic list, so it cannot be applied in parts: it is patched, and each
 * patch tests that the list has not changed. An annotation, changed in the same patch, remembers
 * which ones are ours: a taint that is no longer wanted is removed, and foreign ones stay, even
 * identical ones.
 *
 * Two taints are the same if their key and effect are.
 */

#include <jansson.h>

#include "nodesync/message.h"

#define TAINTS_ANNOTATION "gpuslice.dev/taints" /* "key=value:Effect,..." */

enum taints_outcome { TAINTS_AS_WANTED = 1 };

/* 0 and the operations of a JSON patch; TAINTS_AS_WANTED (nothing to write); -ENOMEM. */
int taints_plan(const json_t *node, const struct sync_taint *wanted, size_t n_wanted,
                json_t **ret_operations);
