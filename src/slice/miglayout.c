// SPDX-License-Identifier: Apache-2.0
#include "slice/miglayout.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "slice/migkind.h"

static struct device make_device(const struct gpu *gpu, const struct mig_board *board,
                                 const struct mig_instance *instance,
                                 const struct mig_compute *compute)
{
    const struct mig_profile *profile = &board->profiles[instance->profile];
    const struct mig_ci_profile *size = &profile->computes[compute->profile];
    struct device device = {
        .kind = DEVICE_MIG,
        .mem_total_bytes = profile->mem_bytes,
        .minor = gpu->minor,
        .is_dxg = gpu->is_dxg,
        .numa_node = gpu->numa_node,
        .instance = {instance->id, compute->id},
        .gi_minor = -1,
        .ci_minor = -1,
        .shape = profile->shape,
    };

    device.shape.ci_slices = size->slices;
    device.shape.multiprocessors = size->multiprocessors;
    migkind_format(board, (struct mig_kind){instance->profile, compute->profile}, device.profile);
    snprintf(device.uuid, sizeof(device.uuid), "MIG-%.*s/%u/%u", (int)sizeof(device.uuid) - 32,
             gpu->uuid, instance->id, compute->id);
    return device;
}

static void remove_devices(struct inventory *inventory, size_t gpu)
{
    size_t kept = 0;

    for (size_t i = 0; i < inventory->n_mig_devices; i++)
        if (inventory->mig_devices[i].gpu != gpu)
            inventory->mig_devices[kept++] = inventory->mig_devices[i];
    inventory->n_mig_devices = kept;
}

static void add_devices(struct inventory *inventory, size_t gpu, const struct mig_board *board,
                        const struct mig_layout *layout)
{
    unsigned mig_index = 0;

    for (uint32_t i = 0; i < layout->n_instances; i++)
        for (uint32_t j = 0; j < layout->instances[i].n_computes; j++) {
            const struct mig_instance *instance = &layout->instances[i];
            struct device *device = &inventory->mig_devices[inventory->n_mig_devices++];

            *device = make_device(&inventory->gpus[gpu], board, instance, &instance->computes[j]);
            device->gpu = gpu;
            device->mig_index = mig_index++;
        }
}

int miglayout_assume(struct inventory *inventory, size_t gpu, const struct mig_board *board,
                     const struct mig_layout *layout)
{
    size_t most = inventory->n_mig_devices + (size_t)MIG_INSTANCES_MAX * MIG_INSTANCES_MAX;
    struct device *devices =
        realloc(inventory->mig_devices, most * sizeof(*inventory->mig_devices));

    if (!devices)
        return -ENOMEM;
    inventory->mig_devices = devices;
    remove_devices(inventory, gpu);
    inventory->gpus[gpu].mig_enabled = layout->enabled;
    inventory->gpus[gpu].layout = *layout;
    add_devices(inventory, gpu, board, layout);
    qsort(inventory->mig_devices, inventory->n_mig_devices, sizeof(*inventory->mig_devices),
          device_compare);
    return 0;
}
