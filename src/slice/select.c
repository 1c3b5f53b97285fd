// SPDX-License-Identifier: Apache-2.0
#include "slice/select.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "slice/name.h"

/* A GPU given by index is in "all" and in every larger count. */
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

bool select_is_rest(const struct sharing_entry *winner, const struct sharing_entry *loser)
{
    return winner->replicas == 1 && winner->devices.kind != DEVICES_ALL &&
           loser->devices.kind == DEVICES_ALL;
}

const struct sharing_entry *select_find_taker_of_all(const struct policy *policy)
{
    for (size_t i = 0; i < policy->n_sharing && policy->n_gpu_rules == 0; i++)
        if (policy->sharing[i].devices.kind == DEVICES_ALL &&
            str_equal(policy->sharing[i].name, NAME_GPU))
            return &policy->sharing[i];
    return NULL;
}

bool select_is_called(const struct plan_device *on, const char *name)
{
    return !*on->left_out &&
           (str_equal(on->base, name) || (*on->second && str_equal(on->second, name)));
}

static bool is_of_entry(const struct plan_device *on, const struct sharing_entry *entry)
{
    return select_is_called(on, entry->name);
}

static void select_all(const struct sharing_entry *entry, const struct plan *plan, bool *reached)
{
    for (size_t i = 0; i < plan->n_devices; i++)
        reached[i] = is_of_entry(&plan->devices[i], entry);
}

static void select_count(const struct sharing_entry *entry, const struct plan *plan,
                         struct problems *problems, bool *reached)
{
    unsigned wanted = entry->devices.count, found = 0;

    for (size_t i = 0; i < plan->n_devices && found < wanted; i++) {
        reached[i] = is_of_entry(&plan->devices[i], entry);
        found += reached[i];
    }
    if (found < wanted)
        problem_add(problems, PROBLEM_WARNING, entry->devices.at, entry->path,
                    "devices asks for %u %s, but this node has %u of %s; all of them are taken",
                    wanted, plan_has_mig_devices(plan) ? "devices" : "GPUs", found, entry->name);
}

/*
 * "MIG-GPU-<uuid>/<gi>/<ci>", which drivers before R470 called a MIG device: true when it is this
 * one. NVIDIA's plugin still takes it.
 */
static bool is_called(const struct plan *plan, const struct plan_device *on, const char *uuid)
{
    char legacy[GPU_UUID_SIZE + 32];

    if (strcasecmp(on->device.uuid, uuid) == 0)
        return true;
    snprintf(legacy, sizeof(legacy), "MIG-%s/%u/%u", plan_gpu(plan, on)->uuid,
             on->device.instance.gpu, on->device.instance.compute);
    return on->device.kind == DEVICE_MIG && strcasecmp(legacy, uuid) == 0;
}

static bool is_meant(const struct plan *plan, const struct plan_device *on,
                     const struct device_ref *ref)
{
    switch (ref->kind) {
    case DEVICE_REF_INDEX:
        return on->device.kind == DEVICE_WHOLE && plan_gpu(plan, on)->index == ref->index;
    case DEVICE_REF_MIG_INDEX:
        return on->device.kind == DEVICE_MIG && plan_gpu(plan, on)->index == ref->index &&
               on->device.mig_index == ref->mig_index;
    case DEVICE_REF_UUID:
        return is_called(plan, on, ref->uuid);
    case DEVICE_REF_PCI:
        return strcasecmp(plan_gpu(plan, on)->pci_address, ref->uuid) == 0;
    }
    return false;
}

/* A GPU of the node, whole or partitioned. */
static bool is_of_gpu(const struct gpu *gpu, const struct device_ref *ref)
{
    return ref->kind == DEVICE_REF_INDEX  ? gpu->index == ref->index
           : ref->kind == DEVICE_REF_UUID ? strcasecmp(gpu->uuid, ref->uuid) == 0
                                          : false;
}

bool select_excludes(const struct policy *policy, const struct plan *plan,
                     const struct plan_device *on)
{
    for (size_t i = 0; i < policy->n_excluded; i++)
        if (is_meant(plan, on, &policy->excluded[i]) ||
            is_of_gpu(plan_gpu(plan, on), &policy->excluded[i]))
            return true;
    return false;
}

bool select_excludes_gpu(const struct policy *policy, const struct gpu *gpu)
{
    for (size_t i = 0; i < policy->n_excluded; i++) {
        const struct device_ref *ref = &policy->excluded[i];

        if (is_of_gpu(gpu, ref) ||
            (ref->kind == DEVICE_REF_PCI && strcasecmp(gpu->pci_address, ref->uuid) == 0))
            return true;
    }
    return false;
}

static bool names_something(const struct device_ref *ref, const struct plan *plan)
{
    assert(plan->devices || !plan->n_devices);
    for (size_t i = 0; i < plan->n_devices; i++)
        if (is_meant(plan, &plan->devices[i], ref) ||
            is_of_gpu(plan_gpu(plan, &plan->devices[i]), ref))
            return true;
    return false;
}

static const struct plan_device *find_ref(const struct device_ref *ref, const struct plan *plan)
{
    assert(plan->devices || !plan->n_devices);
    for (size_t i = 0; i < plan->n_devices; i++)
        if (is_meant(plan, &plan->devices[i], ref))
            return &plan->devices[i];
    return NULL;
}

/* An index that names a GPU which is offered as MIG devices, or one of these. */
static bool is_partitioned(const struct device_ref *ref, const struct plan *plan)
{
    assert(plan->devices || !plan->n_devices);
    for (size_t i = 0; i < plan->n_devices && ref->kind != DEVICE_REF_MIG_INDEX; i++) {
        const struct plan_device *on = &plan->devices[i];
        const struct gpu *gpu = plan_gpu(plan, on);

        if (on->device.kind == DEVICE_MIG &&
            (ref->kind == DEVICE_REF_INDEX ? gpu->index == ref->index
                                           : strcasecmp(gpu->uuid, ref->uuid) == 0))
            return true;
    }
    return false;
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
    case DEVICE_REF_PCI:
        snprintf(buffer, size, "the GPU at %s", ref->uuid);
        break;
    }
}

void select_report_excluded(const struct policy *policy, const struct plan *plan,
                            struct problems *problems)
{
    for (size_t i = 0; i < policy->n_excluded && plan->n_devices > 0; i++) {
        const struct device_ref *ref = &policy->excluded[i];
        char name[128];

        if (ref->kind == DEVICE_REF_UUID || ref->kind == DEVICE_REF_PCI ||
            names_something(ref, plan))
            continue;
        format_ref(ref, name, sizeof(name));
        problem_add(problems, PROBLEM_NOTE, ref->at, "gpuslice.excludeDevices",
                    "%s is not on this node, so nothing is excluded by it", name);
    }
}

static bool is_mig_ref(const struct device_ref *ref)
{
    return ref->kind == DEVICE_REF_MIG_INDEX ||
           (ref->kind == DEVICE_REF_UUID && strncasecmp(ref->uuid, "MIG-", 4) == 0);
}

/* Why a reference selects nothing, the end of a sentence. */
static void explain_ref(const struct sharing_entry *entry, const struct device_ref *ref,
                        const struct plan *plan, const struct plan_device *on, char *why,
                        size_t size)
{
    if (!on && is_mig_ref(ref) && !plan_has_mig_devices(plan))
        snprintf(why, size, "is passed over: this node has no MIG device");
    else if (!on && is_partitioned(ref, plan))
        snprintf(why, size, "is partitioned; name its MIG devices, as in \"0:1\"");
    else if (!on)
        snprintf(why, size, "is not on this node, which has %zu %s%s",
                 is_mig_ref(ref) ? plan->n_devices : plan->n_gpus,
                 is_mig_ref(ref) ? "device" : "GPU",
                 (is_mig_ref(ref) ? plan->n_devices : plan->n_gpus) == 1 ? "" : "s");
    else if (*on->left_out)
        snprintf(why, size, "is left out: %s", on->left_out);
    else if (!select_is_called(on, entry->name))
        snprintf(why, size, "is a %s, not a %s", on->base, entry->name);
    else
        snprintf(why, size, "is named twice; once is enough");
}

/* Marks the one device of a reference, or reports why there is none. */
static void select_ref(const struct sharing_entry *entry, const struct device_ref *ref,
                       const struct plan *plan, struct problems *problems, bool *reached)
{
    const struct plan_device *on = find_ref(ref, plan);
    bool is_ours = on && is_of_entry(on, entry);
    char what[112], why[352];

    if (is_ours && !reached[on - plan->devices]) {
        reached[on - plan->devices] = true;
        return;
    }
    format_ref(ref, what, sizeof(what));
    explain_ref(entry, ref, plan, on, why, sizeof(why));
    problem_add(problems, is_ours ? PROBLEM_NOTE : PROBLEM_WARNING, ref->at, entry->path,
                "%s in devices %s", what, why);
}

void select_devices(const struct sharing_entry *entry, const struct plan *plan,
                    struct problems *problems, bool *reached)
{
    const struct device_selector *devices = &entry->devices;

    memset(reached, 0, plan->n_devices * sizeof(*reached));
    switch (devices->kind) {
    case DEVICES_ALL:
        select_all(entry, plan, reached);
        break;
    case DEVICES_COUNT:
        select_count(entry, plan, problems, reached);
        break;
    case DEVICES_LIST:
        for (size_t i = 0; i < devices->n_refs; i++)
            select_ref(entry, &devices->refs[i], plan, problems, reached);
        break;
    }
}

/* "GPU", "MIG device" or, for both, "device". */
static const char *kind_of(const struct plan *plan, const bool *chosen, size_t *ret_n_chosen)
{
    size_t n[2] = {0, 0};

    for (size_t i = 0; i < plan->n_devices; i++)
        n[plan->devices[i].device.kind] += chosen[i];
    *ret_n_chosen = n[DEVICE_WHOLE] + n[DEVICE_MIG];
    if (n[DEVICE_WHOLE] > 0 && n[DEVICE_MIG] > 0)
        return "device";
    return n[DEVICE_MIG] > 0 ? "MIG device" : "GPU";
}

void select_format(const struct plan *plan, const bool *chosen, char *buffer, size_t size)
{
    size_t n_chosen, used;
    const char *kind = kind_of(plan, chosen, &n_chosen), *separator = "";

    used = (size_t)snprintf(buffer, size, "%s%s ", kind, n_chosen == 1 ? "" : "s");
    for (size_t i = 0; i < plan->n_devices && used < size; i++) {
        const struct plan_device *on = &plan->devices[i];
        char index[DEVICE_INDEX_SIZE];

        if (!chosen[i])
            continue;
        device_format_index(&on->device, plan_gpu(plan, on)->index, index, sizeof(index));
        used += (size_t)snprintf(buffer + used, size - used, "%s%s", separator, index);
        separator = ", ";
    }
    if (used >= size)
        memcpy(buffer + size - 4, "...", 4);
}

const struct plan_device *select_left_out_alike(const struct plan *plan,
                                                const struct plan_device *on, bool *ret_chosen)
{
    const struct plan_device *first = NULL;

    for (size_t i = 0; i < plan->n_devices; i++) {
        ret_chosen[i] = str_equal(plan->devices[i].left_out, on->left_out);
        if (ret_chosen[i] && !first)
            first = &plan->devices[i];
    }
    return first;
}
