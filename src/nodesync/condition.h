// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The Node's condition GPUSlicesReady, applied on /status. It is written when it changes, not as a
 * heartbeat: the Node's lease shows whether the node is alive. lastTransitionTime changes only when
 * the status flips.
 */

#include <jansson.h>
#include <time.h>

#include "nodesync/message.h"

#define CONDITION_TYPE "GPUSlicesReady"

enum condition_outcome { CONDITION_AS_WANTED = 1 };

/*
 * 0 and the object to apply on /status; CONDITION_AS_WANTED (nothing to write); -ENOMEM.
 * state->has_condition false: our condition is removed.
 */
int condition_plan(const json_t *node, const char *node_name, const struct sync_state *state,
                   time_t now, json_t **ret_object);
