// SPDX-License-Identifier: Apache-2.0
#include "slice/plan.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

void plan_free(struct plan *plan)
{
    if (!plan)
        return;
    for (size_t i = 0; i < plan->n_resources; i++) {
        free(plan->resources[i].slices);
        free(plan->resources[i].by_id);
    }
    for (size_t i = 0; i < plan->n_labels; i++) {
        free(plan->labels[i].key);
        free(plan->labels[i].value);
    }
    free(plan->resources);
    free(plan->labels);
    free(plan->devices);
    free(plan->gpus);
    free(plan);
}

const struct gpu *plan_gpu(const struct plan *plan, const struct plan_device *device)
{
    return &plan->gpus[device->device.gpu];
}

const char *plan_device_name(const struct plan *plan, const struct plan_device *device,
                             char *buffer)
{
    device_format_name(&device->device, plan_gpu(plan, device)->index, buffer, DEVICE_NAME_SIZE);
    return buffer;
}

bool plan_has_mig_devices(const struct plan *plan)
{
    for (size_t i = 0; i < plan->n_devices; i++)
        if (plan->devices[i].device.kind == DEVICE_MIG)
            return true;
    return false;
}

const struct plan_resource *plan_find_resource(const struct plan *plan, const char *name)
{
    for (size_t i = 0; i < plan->n_resources; i++)
        if (str_equal(plan->resources[i].name, name))
            return &plan->resources[i];
    return NULL;
}

static bool has_slice_of(const struct plan_resource *resource, size_t device, bool is_second)
{
    for (size_t i = 0; i < resource->n_slices; i++)
        if (resource->slices[i].device == device && resource->slices[i].is_second == is_second)
            return true;
    return false;
}

const struct plan_resource *plan_resource_of(const struct plan *plan,
                                             const struct plan_device *device, bool is_second)
{
    for (size_t i = 0; i < plan->n_resources; i++)
        if (has_slice_of(&plan->resources[i], (size_t)(device - plan->devices), is_second))
            return &plan->resources[i];
    return NULL;
}

const struct slice *plan_find(const struct plan_resource *resource, const char *id)
{
    size_t low = 0, high = resource->n_slices;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct slice *slice = &resource->slices[resource->by_id[middle]];
        int order = strcmp(id, slice->id);

        if (order == 0)
            return slice;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

/* What an answer of Allocate or a device list takes from the device. */
static bool serves_alike(const struct device *a, const struct device *b)
{
    return a->mig_index == b->mig_index && a->minor == b->minor && a->is_dxg == b->is_dxg &&
           a->numa_node == b->numa_node && a->gi_minor == b->gi_minor && a->ci_minor == b->ci_minor;
}

static bool slices_equal(const struct plan *plan_a, const struct slice *a,
                         const struct plan *plan_b, const struct slice *b)
{
    const struct plan_device *on_a = &plan_a->devices[a->device],
                             *on_b = &plan_b->devices[b->device];

    return str_equal(a->id, b->id) && a->is_second == b->is_second &&
           a->share_permille == b->share_permille && a->mem_bytes == b->mem_bytes &&
           on_a->sharing == on_b->sharing &&
           plan_gpu(plan_a, on_a)->index == plan_gpu(plan_b, on_b)->index &&
           serves_alike(&on_a->device, &on_b->device);
}

bool plan_resource_equal(const struct plan *a, const struct plan_resource *in_a,
                         const struct plan *b, const struct plan_resource *in_b)
{
    if (!str_equal(in_a->name, in_b->name) || in_a->sharing != in_b->sharing ||
        in_a->fail_multi != in_b->fail_multi || in_a->n_slices != in_b->n_slices)
        return false;
    for (size_t i = 0; i < in_a->n_slices; i++)
        if (!slices_equal(a, &in_a->slices[i], b, &in_b->slices[i]))
            return false;
    return true;
}
