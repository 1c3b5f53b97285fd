// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What changes between two plans, resource by resource, so that only what changed is sent to the
 * kubelet again. A renamed resource is one removed and one added.
 */

#include <stddef.h>

#include "slice/plan.h"

enum plan_change { PLAN_UNCHANGED, PLAN_ADDED, PLAN_REMOVED, PLAN_CHANGED };

struct plan_diff_item {
    enum plan_change change;
    const struct plan_resource *in_old; /* NULL when added; borrowed from the plan */
    const struct plan_resource *in_new; /* NULL when removed; borrowed from the plan */
};

struct plan_diff {
    struct plan_diff_item *items; /* sorted by the resource's name */
    size_t n_items;
};

#define PLAN_DIFF_INIT \
    {                  \
        .items = NULL  \
    }

/*
 * Every resource of either plan once. Either may be NULL: nothing before, nothing left. Both plans
 * must outlive ret_diff. 0 or -ENOMEM.
 */
int plan_diff(const struct plan *in_old, const struct plan *in_new, struct plan_diff *ret_diff);

void plan_diff_deinit(struct plan_diff *diff);
#define cleanup_plan_diff cleanup(plan_diff_deinit)
