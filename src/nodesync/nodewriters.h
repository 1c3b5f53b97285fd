// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What we maintain on our own Node, each with its own writer, so that a rejected one does not block
 * the others. */

#include "kube/writer.h"
#include "nodesync/labels.h"
#include "nodesync/observed.h"

/* See sync_state. */
#define NODEWRITERS_WAITS_KEY "gpuslice.dev/mig-waits"
#define NODEWRITERS_NAMES_KEY "gpuslice.dev/mig-names"

enum {
    NODEWRITERS_LABELS,
    NODEWRITERS_TAINTS,
    NODEWRITERS_CLIENTS,
    NODEWRITERS_CONDITION,
    NODEWRITERS_WAITS,
    NODEWRITERS_ADVERTISES,
    NODEWRITERS_NAMES,
    NODEWRITERS_WRITERS
};

struct nodewriters {
    struct writer writers[NODEWRITERS_WRITERS];
};

/* on_change: one of them became idle, or failed. */
void nodewriters_init(struct nodewriters *nodewriters, uv_loop_t *loop, struct observed *observed,
                      void (*on_change)(void *userdata), void *userdata);

/* See writer.h. */
void nodewriters_sync(struct nodewriters *nodewriters);
void nodewriters_kick(struct nodewriters *nodewriters);

bool nodewriters_is_idle(const struct nodewriters *nodewriters);

/* The desired labels, from the observed state, which must contain a Node and a state. 0 or
 * -ENOMEM. */
int nodewriters_plan_labels(const struct observed *observed, struct labels_plan *ret_plan);

/* The memory may be freed once the loop has run. */
void nodewriters_deinit(struct nodewriters *nodewriters);
