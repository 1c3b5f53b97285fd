// SPDX-License-Identifier: Apache-2.0
#include "node/partgpus.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "node/migwaits.h"

void partgpus_deinit(struct partgpus *gpus)
{
    for (size_t i = 0; i < gpus->n; i++)
        partgpu_deinit(&gpus->items[i]);
    free(gpus->items);
    *gpus = (struct partgpus){.items = NULL};
}

struct partgpu *partgpus_find(const struct partgpus *gpus, const char *uuid)
{
    for (size_t i = 0; i < gpus->n; i++)
        if (str_equal(gpus->items[i].uuid, uuid))
            return &gpus->items[i];
    return NULL;
}

struct partgpu *partgpus_add(struct partgpus *gpus, const char *uuid)
{
    struct partgpu *gpu = partgpus_find(gpus, uuid);

    if (gpu)
        return gpu;
    gpu = array_push(&gpus->items, &gpus->n, &gpus->capacity, sizeof(*gpu));
    if (gpu)
        partgpu_init(gpu, uuid);
    return gpu;
}

void partgpus_forget(struct partgpus *gpus)
{
    for (size_t i = 0; i < gpus->n; i++)
        partgpu_forget(&gpus->items[i]);
}

bool partgpus_have_failed(const struct partgpus *gpus)
{
    for (size_t i = 0; i < gpus->n; i++)
        if (gpus->items[i].has_failed)
            return true;
    return false;
}

size_t partgpus_count_stuck(const struct partgpus *gpus, const struct inventory *machine)
{
    size_t n = 0;

    for (size_t i = 0; i < machine->n_gpus; i++) {
        const struct partgpu *gpu =
            *machine->gpus[i].unusable ? NULL : partgpus_find(gpus, machine->gpus[i].uuid);

        n += gpu && gpu->is_amid && gpu->n_failures;
    }
    return n;
}

/* --- what is withheld --- */

void partgpus_withhold(struct partgpus *gpus, struct partgpu *gpu, bool whole,
                       const struct mig_next *next)
{
    gpus->withheld_changed |= partgpu_withhold(gpu, whole, next);
}

void partgpus_withhold_all(struct partgpus *gpus, bool all)
{
    gpus->withheld_changed |= all != gpus->is_all_withheld;
    gpus->is_all_withheld = all;
}

void partgpus_note_wanted(struct partgpus *gpus, struct partgpu *gpu, bool is_wanted)
{
    gpus->withheld_changed |= gpu->is_looked_at && is_wanted != gpu->is_wanted;
    gpu->is_looked_at = true;
    gpu->is_wanted = is_wanted;
}

bool partgpus_take_withheld(struct partgpus *gpus)
{
    const bool changed = gpus->withheld_changed;

    gpus->withheld_changed = false;
    return changed;
}

/* Who asks whether a device is held. */
struct asking {
    const struct partgpus *gpus;
    bool (*is_granted)(const char *device_uuid, void *owner);
    void *owner;
};

static bool is_held(const struct asking *asking, const struct partgpu *gpu, const char *uuid,
                    struct device_instance instance)
{
    return (gpu && partgpu_is_used(gpu, instance)) || asking->is_granted(uuid, asking->owner);
}

static void mask_gpu(const struct asking *asking, struct gpu *gpu)
{
    static const struct device_instance whole = {DEVICE_NO_INSTANCE, DEVICE_NO_INSTANCE};
    const struct partgpu *own = partgpus_find(asking->gpus, gpu->uuid);

    if (own)
        partgpu_explain(own, gpu->withheld, sizeof(gpu->withheld));
    if (asking->gpus->is_all_withheld)
        snprintf(gpu->withheld, sizeof(gpu->withheld), "the node is about to be rebooted");
    if (*gpu->withheld)
        gpu->is_held = is_held(asking, own, gpu->uuid, whole);
}

void partgpus_mask(const struct partgpus *gpus, struct inventory *copy,
                   bool (*is_granted)(const char *device_uuid, void *owner), void *owner)
{
    const struct asking asking = {gpus, is_granted, owner};
    size_t n = 0;

    for (size_t i = 0; i < copy->n_gpus; i++)
        mask_gpu(&asking, &copy->gpus[i]);
    for (size_t i = 0; i < copy->n_mig_devices; i++) {
        struct device device = copy->mig_devices[i];
        const struct partgpu *gpu = partgpus_find(gpus, copy->gpus[device.gpu].uuid);

        device.is_withheld =
            gpus->is_all_withheld || (gpu && partgpu_is_going(gpu, device.instance));
        if (!device.is_withheld || is_held(&asking, gpu, device.uuid, device.instance))
            copy->mig_devices[n++] = device;
    }
    copy->n_mig_devices = n;
}

/* --- which pods are waited for --- */

void partgpus_set_waits(struct partgpus *gpus, struct partgpu *gpu, char *waits)
{
    gpus->waits_changed |= partgpu_set_waits(gpu, waits);
}

bool partgpus_take_waits(struct partgpus *gpus)
{
    const bool changed = gpus->waits_changed;

    gpus->waits_changed = false;
    return changed;
}

void partgpus_add_waits(const struct partgpus *gpus, const struct inventory *machine,
                        const char *wish, struct text *out)
{
    cleanup_free char **parts = calloc(gpus->n + 1, sizeof(*parts));
    size_t n = 0;

    for (size_t i = 0; parts && i < gpus->n; i++) {
        const struct gpu *gpu = inventory_find(machine, gpus->items[i].uuid);

        if (gpus->items[i].waits && gpu && !*gpu->unusable)
            parts[n++] = gpus->items[i].waits;
    }
    if (parts)
        migwaits_add(wish, parts, n, out);
}
