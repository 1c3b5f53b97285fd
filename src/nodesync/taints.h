// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * gpuslice.taints on the Node.
 *
 * Node.spec.taints is one atomic list, so it cannot be applied in parts: it is patched, and each
 * patch tests that the list is still the one it was made from. Which of them are ours is remembered
 * in an annotation, changed in the same patch: a taint that is wanted no more goes away, and a
 * stranger's stays, also one that says the same as ours.
 *
 * Two taints are the same when key and effect are.
 */

#include <jansson.h>

#include "nodesync/message.h"

#define TAINTS_ANNOTATION "gpuslice.dev/taints" /* "key=value:Effect,..." */

enum taints_outcome { TAINTS_AS_WANTED = 1 };

/* 0 and the operations of a JSON patch; TAINTS_AS_WANTED (nothing to write); -ENOMEM. */
int taints_plan(const json_t *node, const struct sync_taint *wanted, size_t n_wanted,
                json_t **ret_operations);
