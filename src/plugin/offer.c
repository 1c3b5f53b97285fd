// SPDX-License-Identifier: Apache-2.0
#include "plugin/offer.h"

#include <errno.h>

#include "base/text.h"
#include "plugin/cdihooks.h"
#include "plugin/grants.h"

static int fill(struct offer *offer, const struct inventory *inventory, struct problems *problems)
{
    int r = inventory_copy(&offer->inventory, inventory);

    if (r < 0)
        return r;
    r = plan_make(&offer->inventory, &offer->config->policy, problems, &offer->plan);
    if (r < 0)
        return r;
    offer->device_healthy = calloc(offer->plan->n_devices + 1, sizeof(*offer->device_healthy));
    offer->names = calloc(offer->plan->n_devices + 1, sizeof(*offer->names));
    if (!offer->device_healthy || !offer->names)
        return -ENOMEM;
    offer->missing_hooks = cdihooks_missing(offer->config, problems);
    for (size_t i = 0; i < offer->plan->n_devices; i++)
        offer->device_healthy[i] = true;
    return 0;
}

int offer_new(struct config *config, const struct inventory *inventory, struct problems *problems,
              struct offer **ret_offer)
{
    struct offer *offer = calloc(1, sizeof(*offer));
    int r;

    if (!offer)
        return -ENOMEM;
    offer->config = config;
    r = fill(offer, inventory, problems);
    if (r < 0) {
        offer_free(offer);
        return r;
    }
    *ret_offer = offer;
    return 0;
}

void offer_free(struct offer *offer)
{
    if (!offer)
        return;
    free(offer->device_healthy);
    free(offer->names);
    free(offer->is_held_former);
    plan_free(offer->plan);
    inventory_deinit(&offer->inventory);
    free(offer);
}

const struct plan_resource *offer_resource_of(const struct offer *offer, size_t device)
{
    if (offer->names[device] == NAMEPOOL_NEITHER)
        return NULL;
    return plan_resource_of(offer->plan, &offer->plan->devices[device],
                            offer->names[device] == NAMEPOOL_SECOND);
}

size_t offer_slice_place(const struct offer *offer, const struct plan_resource *resource,
                         const struct slice *slice)
{
    size_t place = (size_t)(slice - resource->slices);

    for (const struct plan_resource *at = offer->plan->resources; at < resource; at++)
        place += at->n_slices;
    return place;
}

size_t offer_count_slices(const struct offer *offer)
{
    size_t n = 0;

    for (size_t i = 0; i < offer->plan->n_resources; i++)
        n += offer->plan->resources[i].n_slices;
    return n;
}

static bool is_held_former(const struct offer *offer, const struct plan_resource *resource,
                           const struct slice *slice)
{
    return offer->is_held_former &&
           offer->is_held_former[offer_slice_place(offer, resource, slice)];
}

bool offer_slice_is_elsewhere(const struct offer *offer, const struct plan_resource *resource,
                              const struct slice *slice)
{
    const enum namepool_name name = slice->is_second ? NAMEPOOL_SECOND : NAMEPOOL_FIRST;

    if (*offer->plan->devices[slice->device].second && offer->names[slice->device] != name)
        return true;
    return offer->device_healthy[slice->device] && is_held_former(offer, resource, slice);
}

bool offer_limits_slice(const struct offer *offer, const struct slice *slice)
{
    return offer->limits && offer->plan->devices[slice->device].sharing == SHARING_TIME_SLICING;
}

bool offer_has_limits(const struct offer *offer, const struct plan_resource *resource)
{
    const struct plan *plan = offer->plan;

    if (!offer->limits)
        return false;
    for (size_t i = 0; !resource && i < plan->n_resources; i++)
        if (offer_has_limits(offer, &plan->resources[i]))
            return true;
    for (size_t i = 0; resource && i < resource->n_slices; i++)
        if (offer_limits_slice(offer, &resource->slices[i]))
            return true;
    return false;
}

/* Nothing that is given now would be as it should be: what a pod has it keeps. */
static bool is_suspended(const struct offer *offer, const struct plan_resource *resource,
                         const struct slice *slice)
{
    if (offer->suspended_by && !grants_holds(offer->suspended_by, resource->name, slice->id))
        return true;
    return offer_limits_slice(offer, slice) && offer->limits->withholds && offer->grants &&
           !grants_holds(offer->grants, resource->name, slice->id);
}

bool offer_slice_is_healthy(const struct offer *offer, const struct plan_resource *resource,
                            const struct slice *slice)
{
    const struct plan_device *on = &offer->plan->devices[slice->device];

    if (offer_slice_is_elsewhere(offer, resource, slice))
        return false;
    if (is_suspended(offer, resource, slice) || is_held_former(offer, resource, slice))
        return false;
    /* What a pod holds, too: the kubelet gives it to the next pod as soon as that one ends. */
    return offer->device_healthy[slice->device] && !on->device.is_withheld;
}

static bool is_planned(const struct plan *plan, const char *uuid)
{
    for (size_t i = 0; i < plan->n_devices; i++)
        if (str_equal(plan->devices[i].device.uuid, uuid))
            return true;
    return false;
}

const char *offer_withholds(const struct offer *offer, const struct device *device)
{
    const struct inventory *now = &offer->inventory;
    const struct device *mig = inventory_find_mig(now, device->uuid);
    const struct gpu *gpu = mig ? &now->gpus[mig->gpu] : inventory_find(now, device->uuid);

    if (device->kind == DEVICE_MIG && !mig)
        return "it does not exist any more";
    if (mig ? mig->is_withheld : gpu && *gpu->withheld)
        return gpu->withheld;
    if (gpu && !mig && inventory_is_partitioned(now, (size_t)(gpu - now->gpus)) &&
        !is_planned(offer->plan, device->uuid))
        return "it is partitioned now";
    return NULL;
}

size_t offer_count_healthy(const struct offer *offer, const struct plan_resource *resource)
{
    size_t n = 0;

    for (size_t i = 0; i < resource->n_slices; i++)
        n += offer_slice_is_healthy(offer, resource, &resource->slices[i]);
    return n;
}
