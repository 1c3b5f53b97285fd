// SPDX-License-Identifier: Apache-2.0
#include "plugin/absent.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "plugin/grantmatch.h"
#include "plugin/grants.h"

/* "MIG-...::3" -> its device. False: it is not a MIG device's. */
static bool uuid_of(const char *id, char ret_uuid[GPU_UUID_SIZE])
{
    const char *end = strstr(id, "::");
    const size_t length = end ? (size_t)(end - id) : strlen(id);

    if (strncasecmp(id, "MIG-", strlen("MIG-")) != 0 || length >= GPU_UUID_SIZE)
        return false;
    snprintf(ret_uuid, GPU_UUID_SIZE, "%.*s", (int)length, id);
    return true;
}

static bool is_absent(const struct offer *offer, const struct ledger_held *held)
{
    const struct plan_resource *resource;
    const struct device *device;
    char uuid[GPU_UUID_SIZE];

    if (!uuid_of(held->id, uuid)) /* first: of GPUs a node may have tens of thousands of slices */
        return false;
    resource = plan_find_resource(offer->plan, held->resource);
    if (resource && plan_find(resource, held->id))
        return false;
    device = inventory_find_mig(&offer->inventory, uuid);
    return !device || grantmatch_is_other(held->grant, device);
}

bool absent_next(const struct offer *offer, const char *resource, size_t *position,
                 struct absent *ret_absent)
{
    struct ledger_held held;

    while (offer->grants && offer->inventory.n_gpus &&
           grants_next_held(offer->grants, position, &held)) {
        if ((resource && !str_equal(resource, held.resource)) || !is_absent(offer, &held))
            continue;
        *ret_absent = (struct absent){held.resource, held.id};
        return true;
    }
    return false;
}

/* Both are in the order of the ledger. */
bool absent_differ(const struct offer *a, const struct offer *b, const char *resource)
{
    size_t at_a = 0, at_b = 0;
    struct absent in_a, in_b;
    bool more;

    do {
        more = absent_next(a, resource, &at_a, &in_a);
        if (more != absent_next(b, resource, &at_b, &in_b) ||
            (more && !str_equal(in_a.id, in_b.id)))
            return true;
    } while (more);
    return false;
}
