// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What this node currently offers: the plan, its inputs, and the health of the devices. Services
 * only read it; the agent replaces it as a whole when configuration or machine change, and updates
 * `device_healthy` when a device fails or recovers.
 */

#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"
#include "slice/planner.h"

struct grants;

struct offer {
    struct config *config; /* borrowed: offers for several machines share one */
    struct inventory inventory;
    struct plan *plan;
    bool *device_healthy; /* one per plan->devices */
    /* While set, nothing new can be granted: only what a grant holds is fit (grants.h). Borrowed.
     */
    const struct grants *suspended_by;
};

/*
 * Plans config on a copy of inventory, with every GPU healthy. Messages for people are added to
 * problems. 0 or -ENOMEM.
 */
int offer_new(struct config *config, const struct inventory *inventory, struct problems *problems,
              struct offer **ret_offer);

/* NULL is allowed. */
void offer_free(struct offer *offer);

DEFINE_CLEANUP(struct offer *, offer_free)

/* The slice is one of the resource's. */
bool offer_slice_is_healthy(const struct offer *offer, const struct plan_resource *resource,
                            const struct slice *slice);

/* How many of the resource's slices are healthy; the resource is one of the offer's plan. */
size_t offer_count_healthy(const struct offer *offer, const struct plan_resource *resource);
