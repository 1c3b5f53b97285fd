// SPDX-License-Identifier: Apache-2.0
#include "node/vanished.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/array.h"

struct vanished_device {
    char uuid[GPU_UUID_SIZE];
    uint64_t due_ms;
};

void vanished_deinit(struct vanished *vanished)
{
    free(vanished->items);
    *vanished = (struct vanished)VANISHED_INIT;
}

static bool is_missing(const struct inventory *machine, const struct inventory *seen,
                       const struct device *device)
{
    const struct gpu *gpu = inventory_find(seen, machine->gpus[device->gpu].uuid);

    return *device->uuid && gpu && !*gpu->unusable && !gpu->gaps[FACT_MIG_DEVICES] &&
           !inventory_find_mig(seen, device->uuid);
}

static uint64_t due_of(const struct vanished *vanished, const char *uuid, uint64_t otherwise_ms)
{
    for (size_t i = 0; i < vanished->n_items; i++)
        if (strcasecmp(vanished->items[i].uuid, uuid) == 0)
            return vanished->items[i].due_ms;
    return otherwise_ms;
}

int vanished_update(struct vanished *vanished, const struct inventory *machine,
                    const struct inventory *seen, uint64_t now_ms)
{
    struct vanished_device *items = calloc(machine->n_mig_devices + 1, sizeof(*items));
    size_t n = 0;

    if (!items)
        return -ENOMEM;
    for (size_t i = 0; i < machine->n_mig_devices; i++) {
        const char *uuid = machine->mig_devices[i].uuid;

        if (!is_missing(machine, seen, &machine->mig_devices[i]))
            continue;
        memcpy(items[n].uuid, uuid, sizeof(items[n].uuid));
        items[n++].due_ms = due_of(vanished, uuid, now_ms + VANISHED_GRACE_MS);
    }
    vanished_deinit(vanished);
    *vanished = (struct vanished){items, n};
    return 0;
}

uint64_t vanished_due_ms(const struct vanished *vanished)
{
    uint64_t due_ms = UINT64_MAX;

    for (size_t i = 0; i < vanished->n_items; i++)
        if (vanished->items[i].due_ms < due_ms)
            due_ms = vanished->items[i].due_ms;
    return due_ms;
}

bool vanished_take(struct vanished *vanished, bool (*is_held)(const char *uuid, void *userdata),
                   void *userdata, uint64_t now_ms, char ret_uuid[GPU_UUID_SIZE])
{
    for (size_t i = 0; i < vanished->n_items; i++) {
        struct vanished_device *item = &vanished->items[i];

        if (item->due_ms > now_ms)
            continue;
        item->due_ms = now_ms + VANISHED_GRACE_MS;
        if (is_held(item->uuid, userdata))
            continue;
        memcpy(ret_uuid, item->uuid, sizeof(item->uuid));
        *item = vanished->items[--vanished->n_items];
        return true;
    }
    return false;
}
