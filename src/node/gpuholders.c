// SPDX-License-Identifier: Apache-2.0
#include "node/gpuholders.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define POD "pod "

static const struct device_instance whole = {DEVICE_NO_INSTANCE, DEVICE_NO_INSTANCE};

/* One more than there is room for takes the last place as one that has the whole GPU. */
static char *add(struct gpuholders *holders, struct device_instance instance)
{
    if (holders->n == GPUHOLDERS_MAX) {
        holders->n--;
        instance = whole;
    }
    holders->instances[holders->n] = instance;
    holders->is_process[holders->n] = false;
    holders->uids[holders->n][0] = '\0';
    return holders->names[holders->n++];
}

/* An id is a UUID, or one with "::" and a number. */
static bool is_of(const char *id, const char *uuid)
{
    const size_t length = strlen(uuid);

    return length && strncasecmp(id, uuid, length) == 0 &&
           (!id[length] || strncmp(id + length, "::", 2) == 0);
}

bool gpuholders_find(const struct inventory *machine, size_t gpu, const char *id,
                     struct device_instance *ret_instance)
{
    *ret_instance = whole;
    if (is_of(id, machine->gpus[gpu].uuid))
        return true;
    for (size_t i = 0; i < machine->n_mig_devices; i++) {
        const struct device *device = &machine->mig_devices[i];

        if (device->gpu != gpu || !is_of(id, device->uuid))
            continue;
        *ret_instance = device->instance;
        return true;
    }
    return false;
}

static bool pod_has(const struct gpuholders *holders, struct device_instance instance)
{
    for (size_t i = 0; i < holders->n; i++)
        if (!holders->is_process[i] && device_instances_overlap(holders->instances[i], instance))
            return true;
    return false;
}

void gpuholders_add_pods(struct gpuholders *holders, const struct inventory *machine, size_t gpu,
                         const struct podresources_list *list,
                         const char *(*pod_uid)(const char *resource, const char *id, void *owner),
                         void *owner)
{
    for (size_t i = 0; i < list->n_devices; i++) {
        const struct podresources_device *device = &list->devices[i];
        struct device_instance instance;

        if (!gpuholders_find(machine, gpu, device->id, &instance))
            continue;
        snprintf(add(holders, instance), GPUHOLDER_NAME_SIZE, POD "%s/%s", device->pod.namespace_,
                 device->pod.name);
        snprintf(holders->uids[holders->n - 1], GPUHOLDER_UID_SIZE, "%s",
                 pod_uid ? pod_uid(device->resource, device->id, owner) : "");
    }
}

const char *gpuholders_pod(const struct gpuholders *holders, uint32_t place)
{
    const char *name = holders->names[place];

    return !holders->is_process[place] && str_starts_with(name, POD) ? name + strlen(POD) : NULL;
}

void gpuholders_add_grants(struct gpuholders *holders, const struct inventory *machine, size_t gpu,
                           bool (*is_granted)(const char *device_uuid, void *owner), void *owner)
{
    static const char name[] = "a pod that begins or has just ended";

    for (size_t i = 0; i < machine->n_mig_devices; i++) {
        const struct device *device = &machine->mig_devices[i];

        if (device->gpu == gpu && is_granted(device->uuid, owner) &&
            !pod_has(holders, device->instance))
            snprintf(add(holders, device->instance), GPUHOLDER_NAME_SIZE, "%s", name);
    }
    if (is_granted(machine->gpus[gpu].uuid, owner) && !pod_has(holders, whole))
        snprintf(add(holders, whole), GPUHOLDER_NAME_SIZE, "%s", name);
}

void gpuholders_add_processes(struct gpuholders *holders, const struct gpu_changed *found,
                              bool also_of_whole)
{
    for (uint32_t i = 0; i < found->n_holders; i++) {
        const struct gpu_holder *process = &found->holders[i];
        char *name;

        if (!also_of_whole && process->instance.gpu == DEVICE_NO_INSTANCE)
            continue;
        name = add(holders, process->instance);
        holders->is_process[holders->n - 1] = true;
        if (process->pid)
            snprintf(name, GPUHOLDER_NAME_SIZE, "process %s (pid %u)",
                     *process->name ? process->name : "without a name", process->pid);
        else
            snprintf(name, GPUHOLDER_NAME_SIZE,
                     "a process that is not seen from here (one of another pid namespace, such as "
                     "a monitoring agent's)");
    }
}

bool gpuholders_are_foreign(const struct gpuholders *holders, const uint32_t *places, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!holders->is_process[places[i]])
            return false;
    return true;
}

static bool is_named_before(const struct gpuholders *holders, const uint32_t *places, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (strcmp(holders->names[places[k]], holders->names[places[i]]) == 0)
            return true;
    return false;
}

void gpuholders_add_names(const struct gpuholders *holders, const uint32_t *places, size_t n,
                          struct text *text)
{
    size_t n_names = 0;

    for (size_t i = 0; i < n; i++)
        if (!is_named_before(holders, places, i) && ++n_names <= GPUHOLDERS_NAMED)
            text_addf(text, "%s%s", n_names > 1 ? ", " : "", holders->names[places[i]]);
    if (n_names > GPUHOLDERS_NAMED)
        text_addf(text, " and %zu more", n_names - GPUHOLDERS_NAMED);
}
