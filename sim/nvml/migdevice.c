// SPDX-License-Identifier: Apache-2.0
#include "nvml/migdevice.h"

#include <pthread.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"

/* A handle is nothing but its position among the others, and what it refers to. */
struct slot {
    bool used;
    struct migstate_ref ref;
    char room[64]; /* programs that take it for something else read there */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct slot slots[MACHINE_MAX_GPUS][MIG_INSTANCES_MAX];

void migdevice_shutdown(void)
{
    pthread_mutex_lock(&lock);
    memset(slots, 0, sizeof(slots));
    pthread_mutex_unlock(&lock);
}

unsigned migdevice_count_max(const struct state *state, unsigned gpu)
{
    const struct mig_board *board = migstate_board(state, gpu);
    struct mig_layout layout;
    unsigned most = 0;

    migstate_read(state, gpu, &layout);
    for (uint32_t i = 0; layout.enabled && i < board->n_profiles; i++)
        if (board->profiles[i].shape.gi_slices > most)
            most = board->profiles[i].shape.gi_slices;
    return most;
}

static bool exists(const struct state *state, const struct slot *slot)
{
    struct mig_layout layout;
    struct mig_compute *compute;

    return slot->used && migstate_resolve(state, &slot->ref, &layout, &compute);
}

static struct slot *find_slot(unsigned gpu, const struct migstate_ref *ref)
{
    for (unsigned i = 0; i < MIG_INSTANCES_MAX; i++)
        if (slots[gpu][i].used && slots[gpu][i].ref.instance == ref->instance &&
            slots[gpu][i].ref.compute == ref->compute &&
            slots[gpu][i].ref.generation == ref->generation &&
            slots[gpu][i].ref.generation2 == ref->generation2)
            return &slots[gpu][i];
    return NULL;
}

static void take_slot(unsigned gpu, const struct migstate_ref *ref)
{
    for (unsigned i = 0; i < MIG_INSTANCES_MAX && !find_slot(gpu, ref); i++)
        if (!slots[gpu][i].used)
            slots[gpu][i] = (struct slot){.used = true, .ref = *ref};
}

/* Called locked. */
static void refresh(const struct state *state, unsigned gpu)
{
    struct mig_layout layout;
    struct migstate_ref ref;

    for (unsigned i = 0; i < MIG_INSTANCES_MAX; i++)
        if (!exists(state, &slots[gpu][i]))
            slots[gpu][i].used = false;
    migstate_read(state, gpu, &layout);
    for (uint32_t i = 0; i < layout.n_instances; i++)
        for (uint32_t j = 0; j < layout.instances[i].n_computes; j++)
            if (migstate_refer(state, gpu, layout.instances[i].id,
                               layout.instances[i].computes[j].id, &ref) == 0)
                take_slot(gpu, &ref);
}

static struct slot *slot_of(nvmlDevice_t device, unsigned *ret_gpu, unsigned *ret_index)
{
    for (unsigned gpu = 0; gpu < MACHINE_MAX_GPUS; gpu++)
        for (unsigned i = 0; i < MIG_INSTANCES_MAX; i++)
            if ((const void *)device == &slots[gpu][i]) {
                *ret_gpu = gpu;
                *ret_index = i;
                return &slots[gpu][i];
            }
    return NULL;
}

bool migdevice_is_handle(nvmlDevice_t device, unsigned *ret_gpu)
{
    unsigned index;

    return slot_of(device, ret_gpu, &index);
}

bool migdevice_describe(const struct state *state, nvmlDevice_t device,
                        struct migdevice *ret_device)
{
    struct migdevice found = {.index = 0};
    struct mig_instance *instance = NULL;
    struct mig_compute *compute = NULL;
    struct mig_layout layout;
    struct migstate_ref ref;
    unsigned gpu;
    const struct slot *slot = slot_of(device, &gpu, &found.index);
    bool used = false;

    pthread_mutex_lock(&lock);
    if (slot) {
        used = slot->used;
        ref = slot->ref;
    }
    pthread_mutex_unlock(&lock);
    if (used)
        instance = migstate_resolve(state, &ref, &layout, &compute);
    if (!instance)
        return false;
    found.instance = *instance;
    found.compute = *compute;
    found.profile = &migstate_board(state, gpu)->profiles[instance->profile];
    *ret_device = found;
    return true;
}

nvmlDevice_t migdevice_by_index(const struct state *state, unsigned gpu, unsigned index)
{
    struct slot *slot = NULL;

    pthread_mutex_lock(&lock);
    refresh(state, gpu);
    if (index < MIG_INSTANCES_MAX && slots[gpu][index].used)
        slot = &slots[gpu][index];
    pthread_mutex_unlock(&lock);
    return (nvmlDevice_t)(void *)slot;
}

static nvmlDevice_t by_ids(const struct state *state, unsigned gpu, uint32_t instance,
                           uint32_t compute)
{
    struct slot *slot = NULL;
    struct migstate_ref ref;

    if (migstate_refer(state, gpu, instance, compute, &ref) != 0)
        return NULL;
    pthread_mutex_lock(&lock);
    refresh(state, gpu);
    slot = find_slot(gpu, &ref);
    pthread_mutex_unlock(&lock);
    return (nvmlDevice_t)(void *)slot;
}

nvmlDevice_t migdevice_by_uuid(const struct state *state, const char *uuid)
{
    uint32_t instance, compute;
    unsigned gpu;

    return migstate_find(state, uuid, &gpu, &instance, &compute)
               ? by_ids(state, gpu, instance, compute)
               : NULL;
}

static bool is_listed(const char *call, const char *const *calls, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_equal(call, calls[i]))
            return true;
    return false;
}

/* What does not depend on the part of the GPU. NVIDIA does not list them. */
bool migdevice_is_of_gpu(const char *call)
{
    static const char *const calls[] = {
        "nvmlDeviceGetArchitecture",
        "nvmlDeviceGetBrand",
        "nvmlDeviceGetCudaComputeCapability",
    };

    return is_listed(call, calls, ARRAY_SIZE(calls));
}

/* "On MIG-enabled GPUs ... is not currently supported", as nvml.h has it at each of these. */
bool migdevice_is_refused(const char *call)
{
    static const char *const calls[] = {
        "nvmlDeviceGetDecoderUtilization", "nvmlDeviceGetEncoderUtilization",
        "nvmlDeviceGetJpgUtilization",     "nvmlDeviceGetOfaUtilization",
        "nvmlDeviceGetProcessUtilization", "nvmlDeviceGetProcessesUtilizationInfo",
        "nvmlDeviceGetUtilizationRates",   "nvmlDeviceSetComputeMode",
    };

    return is_listed(call, calls, ARRAY_SIZE(calls));
}
