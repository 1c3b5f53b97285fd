// SPDX-License-Identifier: Apache-2.0
#include "slice/device.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

void device_format_index(const struct device *device, unsigned gpu_index, char *buffer, size_t size)
{
    if (device->kind == DEVICE_MIG)
        snprintf(buffer, size, "%u:%u", gpu_index, device->mig_index);
    else
        snprintf(buffer, size, "%u", gpu_index);
}

void device_format_name(const struct device *device, unsigned gpu_index, char *buffer, size_t size)
{
    char index[DEVICE_INDEX_SIZE];

    device_format_index(device, gpu_index, index, sizeof(index));
    snprintf(buffer, size, "%s %s", device->kind == DEVICE_MIG ? "MIG device" : "GPU", index);
}

size_t device_list_nodes(const struct device *device,
                         char ret_paths[DEVICE_NODES_MAX][DEVICE_NODE_SIZE])
{
    const struct {
        const char *prefix;
        int minor;
    } nodes[DEVICE_NODES_MAX] = {
        {"/dev/nvidia", device->minor},
        {"/dev/nvidia-caps/nvidia-cap", device->gi_minor},
        {"/dev/nvidia-caps/nvidia-cap", device->ci_minor},
    };
    size_t n_nodes = device->kind == DEVICE_MIG ? DEVICE_NODES_MAX : 1, n = 0;

    if (device->is_dxg) {
        snprintf(ret_paths[0], DEVICE_NODE_SIZE, "/dev/dxg");
        return 1;
    }
    for (size_t i = 0; i < n_nodes; i++)
        if (nodes[i].minor >= 0)
            snprintf(ret_paths[n++], DEVICE_NODE_SIZE, "%s%d", nodes[i].prefix, nodes[i].minor);
    return n;
}

bool device_has_nodes(const struct device *device)
{
    return device->is_dxg || device->minor >= 0;
}

static bool ids_overlap(uint32_t a, uint32_t b)
{
    return a == DEVICE_NO_INSTANCE || b == DEVICE_NO_INSTANCE || a == b;
}

bool device_instances_overlap(struct device_instance a, struct device_instance b)
{
    return ids_overlap(a.gpu, b.gpu) && ids_overlap(a.compute, b.compute);
}

bool device_equal(const struct device *a, const struct device *b)
{
    return a->kind == b->kind && a->mem_total_bytes == b->mem_total_bytes &&
           a->mem_reserved_bytes == b->mem_reserved_bytes && a->minor == b->minor &&
           a->is_dxg == b->is_dxg && a->is_withheld == b->is_withheld &&
           a->numa_node == b->numa_node && a->mig_index == b->mig_index &&
           a->instance.gpu == b->instance.gpu && a->instance.compute == b->instance.compute &&
           a->gi_minor == b->gi_minor && a->ci_minor == b->ci_minor &&
           str_equal(a->profile, b->profile) && str_equal(a->unusable, b->unusable) &&
           memcmp(&a->shape, &b->shape, sizeof(a->shape)) == 0;
}

int device_compare(const void *a_p, const void *b_p)
{
    const struct device *a = a_p, *b = b_p;

    if (a->gpu != b->gpu)
        return a->gpu < b->gpu ? -1 : 1;
    if (a->mig_index != b->mig_index)
        return a->mig_index < b->mig_index ? -1 : 1;
    return strcmp(a->uuid, b->uuid);
}
