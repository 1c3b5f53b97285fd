// SPDX-License-Identifier: Apache-2.0
#include "slice/select.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "slice/name.h"

/* A GPU by index lies in "all" and in every count above it. */
static bool surely_reaches(const struct device_selector *selector, const struct device_ref *ref)
{
    switch (selector->kind) {
    case DEVICES_ALL:
        return true;
    case DEVICES_COUNT:
        return ref->kind == DEVICE_REF_INDEX && ref->index < selector->count;
    case DEVICES_LIST:
        for (size_t i = 0; i < selector->n_refs; i++)
            if (device_ref_equal(&selector->refs[i], ref))
                return true;
        return false;
    }
    return false;
}

bool select_surely_overlap(const struct sharing_entry *a, const struct sharing_entry *b)
{
    const struct sharing_entry *list = a->devices.kind == DEVICES_LIST ? a : b;
    const struct sharing_entry *other = list == a ? b : a;

    if (!str_equal(a->name, b->name))
        return false;
    if (list->devices.kind != DEVICES_LIST)
        return true; /* both begin with the lowest index */
    for (size_t i = 0; i < list->devices.n_refs; i++)
        if (surely_reaches(&other->devices, &list->devices.refs[i]))
            return true;
    return false;
}

const struct sharing_entry *select_find_taker_of_all(const struct policy *policy)
{
    for (size_t i = 0; i < policy->n_sharing && policy->n_gpu_rules == 0; i++)
        if (policy->sharing[i].devices.kind == DEVICES_ALL &&
            str_equal(policy->sharing[i].name, NAME_GPU))
            return &policy->sharing[i];
    return NULL;
}

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
