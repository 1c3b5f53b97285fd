// SPDX-License-Identifier: Apache-2.0

/* The processes on a device. */

#include "nvml/library.h"

/* Buffer size requested for samples of processes, even if there are none. */
enum { SAMPLES = 72 };

static bool is_on(const struct view *v, unsigned slot, unsigned kind, unsigned *ret_pid)
{
    const struct state_process *p = &v->state->processes[slot];

    if (!atomic_load(&p->pid) || p->gpu != v->index || p->kind != kind)
        return false;
    if (v->is_mig &&
        (p->gpu_instance != v->mig.instance.id || p->compute_instance != v->mig.compute.id))
        return false;
    *ret_pid = state_process_pid(v->state, slot);
    return *ret_pid > 0;
}

static unsigned count_processes(const struct view *v, unsigned kind)
{
    unsigned n = 0, pid;

    for (unsigned i = 0; i < STATE_MAX_PROCESSES; i++)
        n += is_on(v, i, kind, &pid);
    return n;
}

/* `put` writes the n-th entry; the versions of the list differ only in that. */
static nvmlReturn_t give_processes(const char *call, nvmlDevice_t device, unsigned kind,
                                   unsigned *count, void *infos,
                                   void (*put)(void *infos, unsigned n, unsigned pid,
                                               const struct state_process *p))
{
    struct view v;
    nvmlReturn_t r = library_enter_any(call, device, &v);
    unsigned room, n = 0, pid;

    if (r)
        return r;
    if (!count)
        return NVML_ERROR_INVALID_ARGUMENT;
    room = *count;
    *count = count_processes(&v, kind);
    if (*count > room)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    if (*count > 0 && !infos)
        return NVML_ERROR_INVALID_ARGUMENT;
    for (unsigned i = 0; i < STATE_MAX_PROCESSES && n < room; i++) {
        const struct state_process *p = &v.state->processes[i];

        if (is_on(&v, i, kind, &pid))
            put(infos, n++, pid, p);
    }
    *count = n;
    return NVML_SUCCESS;
}

static void put_v1(void *infos, unsigned n, unsigned pid, const struct state_process *p)
{
    ((nvmlProcessInfo_v1_t *)infos)[n] = (nvmlProcessInfo_v1_t){pid, atomic_load(&p->memory_bytes)};
}

static void put_v2(void *infos, unsigned n, unsigned pid, const struct state_process *p)
{
    ((nvmlProcessInfo_v2_t *)infos)[n] = (nvmlProcessInfo_v2_t){
        pid, atomic_load(&p->memory_bytes), p->gpu_instance, p->compute_instance};
}

#define LISTS(GIVE)                                                                                \
    GIVE(nvmlDeviceGetComputeRunningProcesses, PROCESS_COMPUTE, nvmlProcessInfo_v1_t, put_v1)      \
    GIVE(nvmlDeviceGetComputeRunningProcesses_v2, PROCESS_COMPUTE, nvmlProcessInfo_v2_t, put_v2)   \
    GIVE(nvmlDeviceGetComputeRunningProcesses_v3, PROCESS_COMPUTE, nvmlProcessInfo_t, put_v2)      \
    GIVE(nvmlDeviceGetGraphicsRunningProcesses, PROCESS_GRAPHICS, nvmlProcessInfo_v1_t, put_v1)    \
    GIVE(nvmlDeviceGetGraphicsRunningProcesses_v2, PROCESS_GRAPHICS, nvmlProcessInfo_v2_t, put_v2) \
    GIVE(nvmlDeviceGetGraphicsRunningProcesses_v3, PROCESS_GRAPHICS, nvmlProcessInfo_t, put_v2)    \
    GIVE(nvmlDeviceGetMPSComputeRunningProcesses, PROCESS_MPS, nvmlProcessInfo_v1_t, put_v1)       \
    GIVE(nvmlDeviceGetMPSComputeRunningProcesses_v2, PROCESS_MPS, nvmlProcessInfo_v2_t, put_v2)    \
    GIVE(nvmlDeviceGetMPSComputeRunningProcesses_v3, PROCESS_MPS, nvmlProcessInfo_t, put_v2)

#define GIVE_LIST(name, kind, type, put)                                      \
    nvmlReturn_t name(nvmlDevice_t device, unsigned *infoCount, type *infos)  \
    {                                                                         \
        return give_processes(__func__, device, kind, infoCount, infos, put); \
    }
LISTS(GIVE_LIST)

static void put_detail(void *infos, unsigned n, unsigned pid, const struct state_process *p)
{
    ((nvmlProcessDetail_v1_t *)infos)[n] = (nvmlProcessDetail_v1_t){
        pid, atomic_load(&p->memory_bytes), p->gpu_instance, p->compute_instance, 0};
}

nvmlReturn_t nvmlDeviceGetRunningProcessDetailList(nvmlDevice_t device,
                                                   nvmlProcessDetailList_t *plist)
{
    if (plist && plist->version != NVML_STRUCT_VERSION_OF(nvmlProcessDetailList_v1_t, 1))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    return give_processes(__func__, device, plist ? plist->mode : 0,
                          plist ? &plist->numProcArrayEntries : NULL,
                          plist ? plist->procArray : NULL, put_detail);
}

/* Each process accounts for an equal part of the device's load. */
static unsigned process_percent(const struct view *v, const struct state_process *p, unsigned n)
{
    return p->utilization ? p->utilization : load_percent(v) / (n ? n : 1);
}

nvmlReturn_t nvmlDeviceGetProcessUtilization(nvmlDevice_t device,
                                             nvmlProcessUtilizationSample_t *utilization,
                                             unsigned int *processSamplesCount,
                                             unsigned long long lastSeenTimeStamp)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);
    unsigned n, given = 0, pid;

    if (r)
        return r;
    if (!processSamplesCount)
        return NVML_ERROR_INVALID_ARGUMENT;
    n = count_processes(&v, PROCESS_COMPUTE);
    if (!utilization || !*processSamplesCount || *processSamplesCount < n) {
        *processSamplesCount = n > SAMPLES ? n : SAMPLES;
        return NVML_ERROR_INSUFFICIENT_SIZE;
    }
    if (n == 0 || lastSeenTimeStamp >= library_now_us())
        return NVML_ERROR_NOT_FOUND;
    for (unsigned i = 0; i < STATE_MAX_PROCESSES && given < *processSamplesCount; i++) {
        const struct state_process *p = &v.state->processes[i];

        if (is_on(&v, i, PROCESS_COMPUTE, &pid))
            utilization[given++] = (nvmlProcessUtilizationSample_t){
                .pid = pid,
                .timeStamp = library_now_us(),
                .smUtil = process_percent(&v, p, n),
            };
    }
    *processSamplesCount = given;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetProcessesUtilizationInfo(nvmlDevice_t device,
                                                   nvmlProcessesUtilizationInfo_t *procesesUtilInfo)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);
    nvmlProcessesUtilizationInfo_t *list = procesesUtilInfo;
    unsigned n, given = 0, pid;

    if (r)
        return r;
    if (!list)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (list->version != NVML_STRUCT_VERSION_OF(nvmlProcessesUtilizationInfo_v1_t, 1))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    n = count_processes(&v, PROCESS_COMPUTE);
    if (!list->procUtilArray || !list->processSamplesCount || list->processSamplesCount < n) {
        list->processSamplesCount = n > SAMPLES ? n : SAMPLES;
        return NVML_ERROR_INSUFFICIENT_SIZE;
    }
    if (n == 0)
        return NVML_ERROR_NOT_FOUND;
    for (unsigned i = 0; i < STATE_MAX_PROCESSES && given < list->processSamplesCount; i++) {
        const struct state_process *p = &v.state->processes[i];

        if (is_on(&v, i, PROCESS_COMPUTE, &pid))
            list->procUtilArray[given++] = (nvmlProcessUtilizationInfo_v1_t){
                .timeStamp = library_now_us(),
                .pid = pid,
                .smUtil = process_percent(&v, p, n),
            };
    }
    list->processSamplesCount = given;
    return NVML_SUCCESS;
}
