// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What we keep on our own Node, each by a writer of its own, so that one that is refused does not
 * hold up the others. */

#include "cluster/labels.h"
#include "cluster/scene.h"
#include "cluster/writer.h"

enum { UPKEEP_LABELS, UPKEEP_TAINTS, UPKEEP_CONDITION, UPKEEP_WRITERS };

struct upkeep {
    struct writer writers[UPKEEP_WRITERS];
};

/* on_change: one of them came to rest, or failed. */
void upkeep_init(struct upkeep *upkeep, uv_loop_t *loop, struct scene *scene,
                 void (*on_change)(void *userdata), void *userdata);

/* See writer.h. */
void upkeep_look(struct upkeep *upkeep);
void upkeep_hurry(struct upkeep *upkeep);

bool upkeep_is_at_rest(const struct upkeep *upkeep);

/* The labels that should be, from all that is seen, which holds a Node and a state. 0 or -ENOMEM.
 */
int upkeep_plan_labels(const struct scene *scene, struct labels_plan *ret_plan);

/* The memory may go when the loop has run. */
void upkeep_deinit(struct upkeep *upkeep);
