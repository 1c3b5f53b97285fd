// SPDX-License-Identifier: Apache-2.0
#include "slice/select.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

static bool is_of_entry(const struct plan_gpu *gpu, const struct sharing_entry *entry)
{
    return !*gpu->left_out && str_equal(gpu->base, entry->name);
}

static void select_all(const struct sharing_entry *entry, const struct plan_gpu *gpus,
                       size_t n_gpus, bool *reached)
{
    for (size_t i = 0; i < n_gpus; i++)
        reached[i] = is_of_entry(&gpus[i], entry);
}

static void select_count(const struct sharing_entry *entry, const struct plan_gpu *gpus,
                         size_t n_gpus, struct problems *problems, bool *reached)
{
    unsigned wanted = entry->devices.count, found = 0;

    for (size_t i = 0; i < n_gpus && found < wanted; i++) {
        reached[i] = is_of_entry(&gpus[i], entry);
        found += reached[i];
    }
    if (found < wanted)
        problem_add(problems, PROBLEM_WARNING, entry->devices.at, entry->path,
                    "devices asks for %u GPUs, but this node has %u of %s; all of them are taken",
                    wanted, found, entry->name);
}

static const struct plan_gpu *find_ref(const struct device_ref *ref, const struct plan_gpu *gpus,
                                       size_t n_gpus)
{
    for (size_t i = 0; i < n_gpus; i++) {
        if (ref->kind == DEVICE_REF_INDEX && gpus[i].gpu.index == ref->index)
            return &gpus[i];
        if (ref->kind == DEVICE_REF_UUID && strcasecmp(gpus[i].gpu.uuid, ref->uuid) == 0)
            return &gpus[i];
    }
    return NULL;
}

static void format_ref(const struct device_ref *ref, char *buffer, size_t size)
{
    switch (ref->kind) {
    case DEVICE_REF_INDEX:
        snprintf(buffer, size, "GPU %u", ref->index);
        break;
    case DEVICE_REF_MIG_INDEX:
        snprintf(buffer, size, "MIG device %u:%u", ref->index, ref->mig_index);
        break;
    case DEVICE_REF_UUID:
        snprintf(buffer, size, "%s", ref->uuid);
        break;
    }
}

static bool is_mig_ref(const struct device_ref *ref)
{
    return ref->kind == DEVICE_REF_MIG_INDEX ||
           (ref->kind == DEVICE_REF_UUID && strncasecmp(ref->uuid, "MIG-", 4) == 0);
}

/* Marks the one GPU of a reference, or says why there is none. */
static void select_ref(const struct sharing_entry *entry, const struct device_ref *ref,
                       const struct plan_gpu *gpus, size_t n_gpus, struct problems *problems,
                       bool *reached)
{
    const struct plan_gpu *gpu = find_ref(ref, gpus, n_gpus);
    enum problem_severity severity = PROBLEM_WARNING;
    char what[112], why[352];

    if (gpu && is_of_entry(gpu, entry) && !reached[gpu - gpus]) {
        reached[gpu - gpus] = true;
        return;
    }
    format_ref(ref, what, sizeof(what));
    if (is_mig_ref(ref))
        snprintf(why, sizeof(why), "is passed over: MIG devices are not offered yet");
    else if (!gpu)
        snprintf(why, sizeof(why), "is not on this node, which has %zu GPU%s", n_gpus,
                 n_gpus == 1 ? "" : "s");
    else if (*gpu->left_out)
        snprintf(why, sizeof(why), "is left out: %s", gpu->left_out);
    else if (!str_equal(gpu->base, entry->name))
        snprintf(why, sizeof(why), "is a %s, not a %s", gpu->base, entry->name);
    else {
        snprintf(why, sizeof(why), "is named twice; once is enough");
        severity = PROBLEM_NOTE;
    }
    problem_add(problems, severity, ref->at, entry->path, "%s in devices %s", what, why);
}

void select_gpus(const struct sharing_entry *entry, const struct plan_gpu *gpus, size_t n_gpus,
                 struct problems *problems, bool *reached)
{
    const struct device_selector *devices = &entry->devices;

    memset(reached, 0, n_gpus * sizeof(*reached));
    switch (devices->kind) {
    case DEVICES_ALL:
        select_all(entry, gpus, n_gpus, reached);
        break;
    case DEVICES_COUNT:
        select_count(entry, gpus, n_gpus, problems, reached);
        break;
    case DEVICES_LIST:
        for (size_t i = 0; i < devices->n_refs; i++)
            select_ref(entry, &devices->refs[i], gpus, n_gpus, problems, reached);
        if (devices->n_refs == 0)
            problem_add(problems, PROBLEM_WARNING, devices->at, entry->path,
                        "devices is an empty list and shares no GPU; write 'all' or name some");
        break;
    }
}

void select_format(const struct plan_gpu *gpus, const bool *chosen, size_t n_gpus, char *buffer,
                   size_t size)
{
    size_t n_chosen = 0, used;
    const char *separator = "";

    for (size_t i = 0; i < n_gpus; i++)
        n_chosen += chosen[i];
    used = (size_t)snprintf(buffer, size, n_chosen == 1 ? "GPU " : "GPUs ");
    for (size_t i = 0; i < n_gpus && used < size; i++) {
        if (!chosen[i])
            continue;
        used += (size_t)snprintf(buffer + used, size - used, "%s%u", separator, gpus[i].gpu.index);
        separator = ", ";
    }
    if (used >= size)
        memcpy(buffer + size - 4, "...", 4);
}
