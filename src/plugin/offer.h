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
#include "plugin/limitmounts.h"
#include "slice/namepool.h"
#include "slice/planner.h"

struct grants;

struct offer {
    struct config *config; /* borrowed: offers for several machines share one */
    struct inventory inventory;
    struct plan *plan;
    bool *device_healthy; /* one per plan->devices */
    /* One per plan->devices: the name that it is announced under, if it has two. */
    enum namepool_name *names;
    /* One per slice (offer_slice_place): pods hold it otherwise, see formerholds.h. NULL = none. */
    bool *is_held_former;
    unsigned missing_hooks; /* CDI_HOOK_* that NVIDIA's program on the host does not have */
    /* While set, nothing new can be granted: only what a grant holds is fit (grants.h). Borrowed.
     */
    const struct grants *suspended_by;
    /* NULL = memory limits are not served here. Borrowed. */
    const struct limitmounts *limits;
    /* What pods hold: of what is gone, too (absent.h). NULL = it is not recorded. Borrowed. */
    const struct grants *grants;
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

/* Of a device with two names, the resource under which it is announced; NULL = neither is, for a
 * moment. */
const struct plan_resource *offer_resource_of(const struct offer *offer, size_t device);

/* The slice is one of the resource's. */
bool offer_slice_is_healthy(const struct offer *offer, const struct plan_resource *resource,
                            const struct slice *slice);

/* Why a device, of this offer or of an earlier one, may not be given out although the kubelet asks
 * for it: its GPU is being partitioned, or the device was destroyed. The end of a sentence; NULL =
 * it may. */
const char *offer_withholds(const struct offer *offer, const struct device *device);

/* A slice that is not announced under this one of its device's two names, or that a pod holds
 * otherwise than it is offered now: for no other reason it is not healthy. */
bool offer_slice_is_elsewhere(const struct offer *offer, const struct plan_resource *resource,
                              const struct slice *slice);

/* A container that gets the slice gets a memory limit: it is a part of a device, and limits are
 * served. Parts that share by MPS are its daemon's to limit. */
bool offer_limits_slice(const struct offer *offer, const struct slice *slice);

/* Some slices of the resource (NULL: of the offer) are such. */
bool offer_has_limits(const struct offer *offer, const struct plan_resource *resource);

/* The position of a slice among those of all resources of the plan, and how many there are. */
size_t offer_slice_place(const struct offer *offer, const struct plan_resource *resource,
                         const struct slice *slice);
size_t offer_count_slices(const struct offer *offer);

/* How many of the resource's slices are healthy; the resource is one of the offer's plan. */
size_t offer_count_healthy(const struct offer *offer, const struct plan_resource *resource);
