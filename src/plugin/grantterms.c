// SPDX-License-Identifier: Apache-2.0
#include "plugin/grantterms.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "rpc/message.h"

static const struct slice *find_slice(const struct offer *offer, const char *resource,
                                      const char *id)
{
    const struct plan_resource *found = offer ? plan_find_resource(offer->plan, resource) : NULL;

    return found ? plan_find(found, id) : NULL;
}

/* A container with several slices of one GPU has the sum of them. */
static int add_slice(struct grant *grant, const struct offer *offer, const struct slice *slice)
{
    const struct device *device = &offer->plan->devices[slice->device].device;
    const char *uuid = device->uuid;
    int r;

    for (size_t i = 0; i < grant->n_devices; i++)
        if (str_equal(grant->devices[i].uuid, uuid)) {
            grant->devices[i].share_permille += slice->share_permille;
            grant->devices[i].mem_bytes += slice->mem_bytes;
            return 0;
        }
    r = grant_add_device(grant, uuid, slice->share_permille, slice->mem_bytes);
    return r == 0 ? grant_set_profile(grant, uuid, device->profile) : r;
}

static int add_id(struct grant *grant, const struct offer *offer, const struct offer *earlier,
                  const char *id)
{
    const struct slice *slice = find_slice(offer, grant->resource, id);
    int r = grant_add_id(grant, id);

    if (r == 0 && slice)
        return add_slice(grant, offer, slice);
    slice = find_slice(earlier, grant->resource, id);
    return r == 0 && slice ? add_slice(grant, earlier, slice) : r;
}

int grantterms_make(const struct offer *offer, const struct offer *earlier, const char *resource,
                    char *const *ids, size_t n_ids, struct grant *ret_grant)
{
    cleanup(grant_deinit) struct grant grant = GRANT_INIT;
    int r = 0;

    grant.resource = strdup(resource);
    if (!grant.resource)
        return -ENOMEM;
    for (size_t i = 0; r == 0 && i < n_ids; i++)
        r = add_id(&grant, offer, earlier, message_text(ids[i]));
    if (r < 0)
        return r;
    *ret_grant = grant;
    grant = (struct grant)GRANT_INIT;
    return 0;
}
