// SPDX-License-Identifier: Apache-2.0
#include "arbiter/devicecosts.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void learn_one(struct contextcost *learned, struct account_device *of,
                      const struct audit_device *device, const struct inventory *machine)
{
    if (of->measured_context_bytes)
        contextcost_learn(learned, machine->gpus[device->device.gpu].model, device->device.profile,
                          of->measured_context_bytes);
    of->measured_context_bytes = 0;
}

static void learn(struct contextcost *learned, const struct tenants *tenants,
                  const struct audit *audit, const struct inventory *machine)
{
    for (struct tenant *tenant = tenants->first; tenant; tenant = tenant->next)
        for (size_t i = 0; i < tenant->account->n_devices; i++) {
            const struct audit_device *device = audit_find_uuid(audit, tenant->uuids[i]);

            if (device)
                learn_one(learned, &tenant->account->devices[i], device, machine);
        }
}

void devicecosts_update(struct devicecosts *costs, const struct tenants *tenants,
                        const struct audit *audit, const struct inventory *machine)
{
    struct devicecost *items = calloc(audit->n_devices + 1, sizeof(*items));

    learn(&costs->learned, tenants, audit, machine);
    if (!items)
        return;
    for (size_t i = 0; i < audit->n_devices; i++) {
        const struct device *device = &audit->devices[i].device;

        memcpy(items[i].uuid, device->uuid, sizeof(items[i].uuid));
        items[i].context_bytes = contextcost_get(&costs->learned, machine->gpus[device->gpu].model,
                                                 device->profile, machine->driver_version);
    }
    free(costs->items);
    costs->items = items;
    costs->n = audit->n_devices;
}

static uint64_t find_bytes(const struct devicecosts *costs, const char *uuid)
{
    for (size_t i = 0; i < costs->n; i++)
        if (strcasecmp(costs->items[i].uuid, uuid) == 0)
            return costs->items[i].context_bytes;
    return CONTEXTCOST_UNKNOWN_BYTES;
}

void devicecosts_apply(const struct devicecosts *costs, struct tenant *tenant)
{
    for (size_t i = 0; i < tenant->account->n_devices; i++)
        tenant->account->devices[i].context_bytes = find_bytes(costs, tenant->uuids[i]);
}

void devicecosts_deinit(struct devicecosts *costs)
{
    free(costs->items);
    *costs = (struct devicecosts){.items = NULL};
}
