// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What our Node should say of us, out of what the agent knows: gpu-feature-discovery's labels, the
 * configuration's own labels and taints, and the condition GPUSlicesReady.
 *
 * Before anything definite is known nothing is said at all, since saying nothing about a label
 * would remove it: the Node keeps what the agent before us said.
 */

#include "node/facts.h"
#include "nodesync/message.h"

enum {
    NODESTATE_UNKNOWN = 1,  /* there is nothing to say yet */
    NODESTATE_SETTLING = 2, /* a state, but resources are on their way to the kubelet */
};

/* 0 or NODESTATE_SETTLING with a state, NODESTATE_UNKNOWN, or -ENOMEM. */
int nodestate_make(const struct facts *facts, struct sync_state *ret_state);

/* The labels are to be told node-feature-discovery by this file; NULL = by none. */
const char *nodestate_label_file(const struct facts *facts);

/* The labels as that file has them, with the time unless noTimestamp says otherwise. 0, -ENOMEM. */
int nodestate_add_timestamp(const struct facts *facts, struct sync_state *state);
