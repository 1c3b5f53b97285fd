// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Who uses a GPU or a part of it: pods by the kubelet's list and by our grants, and processes by
 * the driver. Each has a name for sentences.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "gpu/gpu.h"
#include "plugin/podresources.h"
#include "slice/inventory.h"
#include "slice/migstep.h"

enum {
    GPUHOLDERS_MAX = 64,
    GPUHOLDERS_NAMED = 4,
    GPUHOLDER_NAME_SIZE = 336, /* of a pod: its namespace has at most 63 bytes, its name 253 */
    GPUHOLDER_UID_SIZE = 64,
};

struct gpuholders {
    size_t n;
    struct device_instance instances[GPUHOLDERS_MAX]; /* for migstep_next */
    char names[GPUHOLDERS_MAX][GPUHOLDER_NAME_SIZE];  /* "pod default/train" */
    char uids[GPUHOLDERS_MAX][GPUHOLDER_UID_SIZE];    /* of a pod; "" = unknown, or no pod */
    bool is_process[GPUHOLDERS_MAX];                  /* no pod is known for it */
};

/* Which device of a GPU an id of the kubelet's is: "MIG-...", "GPU-...::3". False: none of it. */
bool gpuholders_find(const struct inventory *machine, size_t gpu, const char *id,
                     struct device_instance *ret_instance);

/* Adds the pods that have devices of the GPU at that position. pod_uid: of the pod that has an id,
 * or "". NULL: nobody asks for it. */
void gpuholders_add_pods(struct gpuholders *holders, const struct inventory *machine, size_t gpu,
                         const struct podresources_list *list,
                         const char *(*pod_uid)(const char *resource, const char *id, void *owner),
                         void *owner);

/* "default/train", of a holder that is a pod; else NULL. Borrowed. */
const char *gpuholders_pod(const struct gpuholders *holders, uint32_t place);

/* Adds the devices of the GPU that a grant has, unless a pod has them. */
void gpuholders_add_grants(struct gpuholders *holders, const struct inventory *machine, size_t gpu,
                           bool (*is_granted)(const char *device_uuid, void *owner), void *owner);

/* Adds processes, but for those that the driver finds in no instance: they watch the whole GPU, as
 * monitoring does, which hinders only a change of its mode and a reset. */
void gpuholders_add_processes(struct gpuholders *holders, const struct gpu_changed *found,
                              bool also_of_whole);

/* True if none of them is a pod. */
bool gpuholders_are_foreign(const struct gpuholders *holders, const uint32_t *places, size_t n);

/* "pod default/train, process dcgm (pid 12) and 3 more", each once. */
void gpuholders_add_names(const struct gpuholders *holders, const uint32_t *places, size_t n,
                          struct text *text);
