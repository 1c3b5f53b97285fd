// SPDX-License-Identifier: Apache-2.0
#include "plugin/offer.h"

#include <errno.h>

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
    if (!offer->device_healthy)
        return -ENOMEM;
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
    plan_free(offer->plan);
    inventory_deinit(&offer->inventory);
    free(offer);
}

bool offer_slice_is_healthy(const struct offer *offer, const struct plan_resource *resource,
                            const struct slice *slice)
{
    if (offer->suspended_by && !grants_holds(offer->suspended_by, resource->name, slice->id))
        return false;
    return offer->device_healthy[slice->device];
}

size_t offer_count_healthy(const struct offer *offer, const struct plan_resource *resource)
{
    size_t n = 0;

    for (size_t i = 0; i < resource->n_slices; i++)
        n += offer_slice_is_healthy(offer, resource, &resource->slices[i]);
    return n;
}
