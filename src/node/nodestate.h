// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The desired state of our Node, derived from the facts: gpu-feature-discovery's labels, the
 * configuration's own labels and taints, and the condition GPUSlicesReady.
 *
 * Before anything definite is known there is no state at all, since omitting a label would remove
 * it: the Node keeps the previous agent's state. Once there is a verdict (verdict.h) but no offer,
 * it keeps the labels and taints.
 */

#include "node/facts.h"
#include "nodesync/message.h"

enum {
    NODESTATE_UNKNOWN = 1,  /* there is no state yet */
    NODESTATE_SETTLING = 2, /* a state, but resources are still being registered */
};

/* 0 or NODESTATE_SETTLING with a state, NODESTATE_UNKNOWN, or -ENOMEM. */
int nodestate_make(const struct facts *facts, struct sync_state *ret_state);

/* The file that passes the labels to node-feature-discovery; NULL = none. */
const char *nodestate_label_file(const struct facts *facts);

/* The labels for that file, with the time unless noTimestamp forbids it. 0, -ENOMEM. */
int nodestate_add_timestamp(const struct facts *facts, struct sync_state *state);
