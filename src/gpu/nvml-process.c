// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/array.h"
#include "base/clock.h"
#include "gpu/nvml.h"
#include "gpu/rmclients.h"

enum { FIRST_MAX = 256, LAST_MAX = 1 << 16, TRIES = 4, CLIENTS_AGAIN_MS = 30000 };

struct listing {
    struct gpu_driver *driver;
    nvmlDevice_t device;
    const char *uuid;
    unsigned more_ms;
};

#define ASK(listing, symbol, ...) \
    NVML_ASK_FOR((listing)->driver, (listing)->more_ms, (listing)->uuid, symbol, ##__VA_ARGS__)

enum list { LIST_COMPUTE, LIST_GRAPHICS, LIST_MPS, N_LISTS };

static nvmlReturn_t ask(const struct listing *listing, enum list list, unsigned *n,
                        nvmlProcessInfo_t *infos)
{
    switch (list) {
    case LIST_COMPUTE:
        return ASK(listing, nvmlDeviceGetComputeRunningProcesses_v3, listing->device, n, infos);
    case LIST_GRAPHICS:
        return ASK(listing, nvmlDeviceGetGraphicsRunningProcesses_v3, listing->device, n, infos);
    default:
        return ASK(listing, nvmlDeviceGetMPSComputeRunningProcesses_v3, listing->device, n, infos);
    }
}

/* A list that grows between two calls is asked for again. *ret_infos: also after a failure. */
static nvmlReturn_t read_list(const struct listing *listing, enum list list,
                              nvmlProcessInfo_t **ret_infos, unsigned *ret_n)
{
    nvmlReturn_t status = NVML_ERROR_INSUFFICIENT_SIZE;
    unsigned room = FIRST_MAX;

    for (int i = 0; i < TRIES && status == NVML_ERROR_INSUFFICIENT_SIZE && room <= LAST_MAX; i++) {
        free(*ret_infos);
        *ret_infos = calloc(room, sizeof(**ret_infos));
        if (!*ret_infos)
            return NVML_ERROR_MEMORY;
        *ret_n = room;
        status = ask(listing, list, ret_n, *ret_infos);
        if (status == NVML_SUCCESS && *ret_n > room)
            status = NVML_ERROR_UNKNOWN;
        room = *ret_n > room ? *ret_n + FIRST_MAX : room * 2;
    }
    return status;
}

/* One that computes and draws is in two lists, each time with all of its memory. */
static struct gpu_process *find(const struct gpu_processes *processes,
                                const nvmlProcessInfo_t *info)
{
    for (size_t i = 0; i < processes->n_items; i++) {
        struct gpu_process *one = &processes->items[i];

        if (one->pid == info->pid && one->instance.gpu == info->gpuInstanceId &&
            one->instance.compute == info->computeInstanceId)
            return one;
    }
    return NULL;
}

static int add(struct gpu_processes *processes, const nvmlProcessInfo_t *info)
{
    struct gpu_process *process = find(processes, info);

    if (!process)
        process = array_push(&processes->items, &processes->n_items, &processes->capacity,
                             sizeof(*process));
    if (!process)
        return -ENOMEM;
    if (process->mem_bytes && process->mem_bytes != GPU_MEMORY_UNKNOWN)
        return 0;
    *process = (struct gpu_process){
        .pid = info->pid,
        .instance = {info->gpuInstanceId, info->computeInstanceId},
        .mem_bytes = info->usedGpuMemory, /* what is not available is the driver's -1 */
    };
    return 0;
}

int nvml_list_processes(struct gpu_driver *driver, nvmlDevice_t device, const char *uuid,
                        unsigned more_ms, struct gpu_processes *ret_processes, struct error *err)
{
    const struct listing listing = {driver, device, uuid, more_ms};
    struct gpu_processes processes = GPU_PROCESSES_INIT;
    int r = 0;

    for (int list = 0; list < N_LISTS && r == 0; list++) {
        cleanup_free nvmlProcessInfo_t *infos = NULL;
        unsigned n = 0;
        const nvmlReturn_t status = read_list(&listing, (enum list)list, &infos, &n);

        /* The others may be unsupported where no process can be in them. */
        if (status != NVML_SUCCESS && list == LIST_COMPUTE)
            r = nvml_outcome(status, err, "nvmlDeviceGetComputeRunningProcesses");
        for (unsigned i = 0; r == 0 && status == NVML_SUCCESS && i < n; i++)
            r = add(&processes, &infos[i]);
    }
    if (r != 0) {
        gpu_processes_deinit(&processes);
        return r == -ENOMEM ? error_set(err, r, "out of memory") : r;
    }
    *ret_processes = processes;
    return 0;
}

/* 0 = it is not known. */
static uint64_t ask_free(struct gpu_driver *driver, nvmlDevice_t device, const char *uuid)
{
    nvmlMemory_v2_t memory = {.version = NVML_STRUCT_VERSION_OF(nvmlMemory_v2_t, 2)};
    nvmlMemory_t old = {.free = 0};

    if (NVML_ASK(driver, uuid, nvmlDeviceGetMemoryInfo_v2, device, &memory) == NVML_SUCCESS)
        return memory.free <= memory.total ? memory.free : 0;
    if (NVML_ASK(driver, uuid, nvmlDeviceGetMemoryInfo, device, &old) == NVML_SUCCESS)
        return old.free <= old.total ? old.free : 0;
    return 0;
}

void nvml_forget_clients(struct nvml_gpu *gpu)
{
    rmclients_close(gpu->clients);
    gpu->clients = NULL;
}

static int ask_clients(const struct rm_kernel *kernel, struct nvml_gpu *gpu,
                       struct gpu_processes *processes)
{
    struct error err = ERROR_INIT;
    int r = 0;

    if (!gpu->clients)
        r = rmclients_open(kernel, gpu->uuid, &gpu->clients, &err);
    if (r == 0)
        r = rmclients_add(gpu->clients, processes->mem_free_bytes, processes, &err);
    if (r == 0 || r == -ENOMEM)
        return r;
    nvml_forget_clients(gpu);
    gpu->clients_ms = clock_now_ms() + CLIENTS_AGAIN_MS;
    snprintf(gpu->unseen, sizeof(gpu->unseen), "%.255s", error_text(&err));
    return 0;
}

/* NVML's lists are worth as much without them. 0 or -ENOMEM. */
static int add_unlisted(struct gpu_driver *driver, const char *uuid,
                        struct gpu_processes *processes)
{
    for (size_t i = 0; i < driver->n_gpus; i++) {
        struct nvml_gpu *gpu = &driver->gpus[i];
        int r = 0;

        if (strcasecmp(gpu->uuid, uuid) != 0)
            continue;
        if (gpu->clients || clock_now_ms() >= gpu->clients_ms)
            r = ask_clients(driver->library.kernel, gpu, processes);
        if (!gpu->clients)
            memcpy(processes->unseen, gpu->unseen, sizeof(processes->unseen));
        return r;
    }
    return 0;
}

int nvml_processes(struct gpu_driver *driver, const char *uuid, struct gpu_processes *ret_processes,
                   struct error *err)
{
    cleanup_gpu_processes struct gpu_processes processes = GPU_PROCESSES_INIT;
    nvmlDevice_t device;
    int r = nvml_find_device(driver, uuid, &device, err);

    if (r == 0)
        r = nvml_list_processes(driver, device, uuid, 0, &processes, err);
    if (r != 0)
        return r;
    processes.mem_free_bytes = ask_free(driver, device, uuid);
    if (add_unlisted(driver, uuid, &processes) < 0)
        return error_set(err, -ENOMEM, "out of memory");
    *ret_processes = processes;
    processes = (struct gpu_processes)GPU_PROCESSES_INIT;
    return 0;
}

void gpu_processes_deinit(struct gpu_processes *processes)
{
    free(processes->items);
    *processes = (struct gpu_processes)GPU_PROCESSES_INIT;
}
