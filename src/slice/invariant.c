// SPDX-License-Identifier: Apache-2.0
#include "slice/invariant.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "slice/label.h"
#include "slice/share.h"

static const char *slice_fault(const struct plan *plan, const struct plan_resource *resource,
                               const struct slice *slice)
{
    const struct plan_device *on = &plan->devices[slice->device];
    char id[SLICE_ID_SIZE];

    if (slice->device >= plan->n_devices || *on->left_out)
        return "a slice lies on a device that is left out";
    if (on->sharing == SHARING_NONE)
        snprintf(id, sizeof(id), "%s", on->device.uuid);
    else
        snprintf(id, sizeof(id), "%s::%u", on->device.uuid, slice->n);
    if (!str_equal(id, slice->id))
        return "a slice's id is not made of its device's UUID and n";
    if (plan_find(resource, slice->id) != slice)
        return "plan_find does not find a slice by its id";
    if (slice->n >= on->n_slices)
        return "a slice's n is not below its device's number of slices";
    if (slice->mem_bytes > SHARE_MIB && slice->mem_bytes % SHARE_MIB != 0)
        return "a slice's memory is not whole MiB";
    if (slice->mem_bytes == 0 && share_memory_mib(&on->device) > 0)
        return "a slice has no memory though its device's is known";
    if (on->sharing == SHARING_NONE && (on->n_slices != 1 || slice->share_permille != SHARE_WHOLE))
        return "a device that is not shared is not whole";
    return NULL;
}

static size_t list_bytes(const struct plan *plan, const struct plan_resource *resource)
{
    size_t sum = 0;

    for (size_t i = 0; i < resource->n_slices; i++)
        sum += listsize_of_id(&plan->devices[resource->slices[i].device].device,
                              strlen(resource->slices[i].id));
    return sum;
}

static const char *resource_fault(const struct plan *plan, const struct plan_resource *resource)
{
    const char *fault = NULL;

    if (resource->n_slices == 0)
        return "a resource has no slice";
    if (list_bytes(plan, resource) > LISTSIZE_MAX_BYTES)
        return "the kubelet cannot read a resource's list";
    for (size_t i = 0; i < resource->n_slices && !fault; i++) {
        const struct slice *now = &resource->slices[i], *last = now - 1;

        fault = slice_fault(plan, resource, now);
        if (!fault && i > 0 &&
            (last->device > now->device || (last->device == now->device && last->n >= now->n)))
            fault = "slices are not sorted by device and n";
    }
    return fault;
}

/* One device over all resources. */
struct sums {
    size_t n_slices, n_second;
    uint64_t permille, mem_bytes;
};

static struct sums sum_device(const struct plan *plan, size_t device,
                              bool seen[PLAN_REPLICAS_MAX + 1])
{
    struct sums sums = {0};

    for (size_t r = 0; r < plan->n_resources; r++) {
        for (size_t i = 0; i < plan->resources[r].n_slices; i++) {
            const struct slice *slice = &plan->resources[r].slices[i];

            if (slice->device != device || slice->n > PLAN_REPLICAS_MAX)
                continue;
            sums.n_second += slice->is_second;
            if (slice->is_second)
                continue;
            sums.n_slices += !seen[slice->n];
            seen[slice->n] = true;
            sums.permille += slice->share_permille;
            sums.mem_bytes += slice->mem_bytes;
        }
    }
    return sums;
}

static const char *sums_fault(const struct plan *plan, size_t i)
{
    const struct plan_device *on = &plan->devices[i];
    uint64_t memory_mib = share_memory_mib(&on->device);
    bool seen[PLAN_REPLICAS_MAX + 1] = {false};
    struct sums sums = sum_device(plan, i, seen);

    if (sums.n_slices != on->n_slices)
        return "n is not unique on a device, or slices are missing";
    if (*on->second && *on->left_out)
        return "a device that is left out has a second name";
    if (sums.n_second != (*on->second ? on->n_slices : 0))
        return "a device's slices are not all under its second name, or it has none";
    if (sums.permille > SHARE_WHOLE)
        return "the shares of a device add up to more than the device";
    if (!plan->overcommits && memory_mib > 0 && sums.mem_bytes > memory_mib * SHARE_MIB)
        return "the memories of a device add up to more than it has";
    return NULL;
}

/* A device beside one that comes before it in the plan. */
static const char *pair_fault(const struct plan_device *before, const struct plan_device *on)
{
    if (!*on->left_out && !*before->left_out &&
        strcasecmp(on->device.uuid, before->device.uuid) == 0)
        return "two offered devices have one UUID";
    if (on->device.gpu == before->device.gpu &&
        (on->device.kind == DEVICE_WHOLE || before->device.kind == DEVICE_WHOLE))
        return "a GPU is one device, and beside it there is another";
    return NULL;
}

static const char *device_fault(const struct plan *plan, size_t i)
{
    const struct plan_device *on = &plan->devices[i];
    const char *fault = NULL;

    if (on->device.gpu >= plan->n_gpus)
        return "a device lies on no GPU of the plan";
    if (i > 0 && device_compare(&plan->devices[i - 1].device, &on->device) > 0)
        return "devices are not sorted by GPU and MIG index";
    if ((on->n_slices == 0) == (*on->left_out == '\0'))
        return "a device is neither offered nor left out, or both";
    for (size_t j = 0; j < i && !fault; j++)
        fault = pair_fault(&plan->devices[j], on);
    return fault ? fault : sums_fault(plan, i);
}

static const char *gpu_fault(const struct plan *plan, size_t i)
{
    if (i > 0 && plan->gpus[i].index < plan->gpus[i - 1].index)
        return "GPUs are not sorted by index";
    for (size_t d = 0; d < plan->n_devices; d++)
        if (plan->devices[d].device.gpu == i)
            return NULL;
    return "a GPU has no device";
}

static const char *label_fault(const struct plan *plan, size_t i)
{
    const char *value = plan->labels[i].value;
    size_t length = strlen(value);

    if (i > 0 && strcmp(plan->labels[i - 1].key, plan->labels[i].key) >= 0)
        return "labels are not sorted by key, or not unique";
    if (length >= LABEL_VALUE_SIZE)
        return "a label's value is longer than 63 characters";
    for (size_t c = 0; c < length; c++)
        if (!isalnum((unsigned char)value[c]) && !strchr("-_.", value[c]))
            return "a label's value has a character that Kubernetes refuses";
    if (length > 0 &&
        (!isalnum((unsigned char)value[0]) || !isalnum((unsigned char)value[length - 1])))
        return "a label's value does not start and end with a letter or digit";
    return NULL;
}

const char *plan_fault(const struct plan *plan)
{
    const char *fault = NULL;

    for (size_t i = 0; i < plan->n_resources && !fault; i++) {
        fault = resource_fault(plan, &plan->resources[i]);
        if (!fault && i > 0 && strcmp(plan->resources[i - 1].name, plan->resources[i].name) >= 0)
            fault = "resources are not sorted by name, or not unique";
    }
    for (size_t i = 0; i < plan->n_devices && !fault; i++)
        fault = device_fault(plan, i);
    for (size_t i = 0; i < plan->n_gpus && !fault; i++)
        fault = gpu_fault(plan, i);
    for (size_t i = 0; i < plan->n_labels && !fault; i++)
        fault = label_fault(plan, i);
    return fault;
}
