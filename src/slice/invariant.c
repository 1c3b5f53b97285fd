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
    const struct plan_gpu *gpu = &plan->gpus[slice->gpu];
    char id[SLICE_ID_SIZE];

    if (slice->gpu >= plan->n_gpus || *gpu->left_out)
        return "a slice lies on a GPU that is left out";
    if (gpu->sharing == SHARING_NONE)
        snprintf(id, sizeof(id), "%s", gpu->gpu.uuid);
    else
        snprintf(id, sizeof(id), "%s::%u", gpu->gpu.uuid, slice->n);
    if (!str_equal(id, slice->id))
        return "a slice's id is not made of its GPU's UUID and n";
    if (plan_find(resource, slice->id) != slice)
        return "plan_find does not find a slice by its id";
    if (slice->n >= gpu->n_slices)
        return "a slice's n is not below its GPU's number of slices";
    if (slice->mem_bytes % SHARE_MIB != 0)
        return "a slice's memory is not whole MiB";
    if (slice->mem_bytes == 0 && share_memory_mib(&gpu->gpu) > 0)
        return "a slice has no memory though its GPU's is known";
    if (gpu->sharing == SHARING_NONE &&
        (gpu->n_slices != 1 || slice->share_permille != SHARE_WHOLE))
        return "a GPU that is not shared is not whole";
    return NULL;
}

static const char *resource_fault(const struct plan *plan, const struct plan_resource *resource)
{
    const char *fault = NULL;

    if (resource->n_slices == 0)
        return "a resource has no slice";
    for (size_t i = 0; i < resource->n_slices && !fault; i++) {
        const struct slice *now = &resource->slices[i], *last = now - 1;

        fault = slice_fault(plan, resource, now);
        if (!fault && i > 0 &&
            (last->gpu > now->gpu || (last->gpu == now->gpu && last->n >= now->n)))
            fault = "slices are not sorted by GPU and n";
    }
    return fault;
}

/* One GPU over all resources. */
struct sums {
    size_t n_slices;
    uint64_t permille, mem_bytes;
};

static struct sums sum_gpu(const struct plan *plan, size_t gpu, bool seen[PLAN_REPLICAS_MAX])
{
    struct sums sums = {0};

    for (size_t r = 0; r < plan->n_resources; r++) {
        for (size_t i = 0; i < plan->resources[r].n_slices; i++) {
            const struct slice *slice = &plan->resources[r].slices[i];

            if (slice->gpu != gpu)
                continue;
            sums.n_slices += slice->n < PLAN_REPLICAS_MAX && !seen[slice->n];
            seen[slice->n % PLAN_REPLICAS_MAX] = true;
            sums.permille += slice->share_permille;
            sums.mem_bytes += slice->mem_bytes;
        }
    }
    return sums;
}

static const char *gpu_fault(const struct plan *plan, size_t i)
{
    const struct plan_gpu *gpu = &plan->gpus[i];
    uint64_t memory_mib = share_memory_mib(&gpu->gpu);
    bool seen[PLAN_REPLICAS_MAX] = {false};
    struct sums sums = sum_gpu(plan, i, seen);

    if (i > 0 && gpu->gpu.index < plan->gpus[i - 1].gpu.index)
        return "GPUs are not sorted by index";
    if ((gpu->n_slices == 0) == (*gpu->left_out == '\0'))
        return "a GPU is neither offered nor left out, or both";
    if (sums.n_slices != gpu->n_slices)
        return "n is not unique on a GPU, or slices are missing";
    if (sums.permille > SHARE_WHOLE)
        return "the shares of a GPU add up to more than the GPU";
    if (memory_mib > 0 && sums.mem_bytes > memory_mib * SHARE_MIB)
        return "the memories of a GPU add up to more than it has";
    for (size_t j = 0; j < i; j++)
        if (!*gpu->left_out && !*plan->gpus[j].left_out &&
            strcasecmp(gpu->gpu.uuid, plan->gpus[j].gpu.uuid) == 0)
            return "two offered GPUs have one UUID";
    return NULL;
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
    for (size_t i = 0; i < plan->n_gpus && !fault; i++)
        fault = gpu_fault(plan, i);
    for (size_t i = 0; i < plan->n_labels && !fault; i++)
        fault = label_fault(plan, i);
    return fault;
}
