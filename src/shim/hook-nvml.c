// SPDX-License-Identifier: Apache-2.0

/*
 * The same in NVML: the slice's memory, and of the processes on a device those of this container.
 */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "limits/uuid.h"
#include "shim/hook.h"
#include "shim/session.h"

static bool is_limited(const struct nvml_functions *nvml, nvmlDevice_t device,
                       struct session_view *ret_view)
{
    char text[96] = "";
    uint8_t uuid[LIMITS_UUID_SIZE];
    int slot;

    if (!session_start() || !nvml->nvmlDeviceGetUUID ||
        nvml->nvmlDeviceGetUUID(device, text, sizeof(text)) != NVML_SUCCESS ||
        !limits_parse_uuid(text, uuid))
        return false;
    slot = session_find(uuid);
    if (slot == SESSION_NO_SLOT)
        return false;
    *ret_view = session_see(slot);
    return ret_view->is_limited;
}

#define NVML_LIBRARY(ret_nvml, name)              \
    do {                                          \
        (ret_nvml) = driver_get_nvml();           \
        if (!(ret_nvml) || !(ret_nvml)->name)     \
            return NVML_ERROR_FUNCTION_NOT_FOUND; \
    } while (0)

/* --- memory --- */

/* The second version tells apart what the driver keeps for itself: no slice has a part of that, and
 * the rest adds up to the total without it. */
#define TELL_NOTHING(memory)
#define TELL_NONE_RESERVED(memory) (memory)->reserved = 0

#define MEMORY(name, type, tell_reserved)                                               \
    nvmlReturn_t name(nvmlDevice_t device, type *memory)                                \
    {                                                                                   \
        const struct nvml_functions *nvml;                                              \
        struct session_view view;                                                       \
        nvmlReturn_t r;                                                                 \
                                                                                        \
        NVML_LIBRARY(nvml, name);                                                       \
        r = nvml->name(device, memory);                                                 \
        if (r != NVML_SUCCESS || !is_limited(nvml, device, &view))                      \
            return r;                                                                   \
        if (view.limit_bytes < memory->total)                                           \
            memory->total = view.limit_bytes;                                           \
        if (view.free_bytes < memory->free)                                             \
            memory->free = view.free_bytes;                                             \
        memory->used = memory->total > memory->free ? memory->total - memory->free : 0; \
        tell_reserved(memory);                                                          \
        return r;                                                                       \
    }

MEMORY(nvmlDeviceGetMemoryInfo, nvmlMemory_t, TELL_NOTHING)
MEMORY(nvmlDeviceGetMemoryInfo_v2, nvmlMemory_v2_t, TELL_NONE_RESERVED)

/* --- processes --- */

/* Of a process that this container sees; 0: it does not. */
static size_t read_cgroup(unsigned pid, char *text, size_t size)
{
    char path[48];
    ssize_t n;
    int fd;

    if (pid)
        snprintf(path, sizeof(path), "/proc/%u/cgroup", pid);
    else
        snprintf(path, sizeof(path), "/proc/self/cgroup");
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd >= 0 ? read(fd, text, size) : 0;
    if (fd >= 0)
        close(fd);
    return n > 0 ? (size_t)n : 0;
}

static bool is_in_container(unsigned pid)
{
    char theirs[4096], ours[4096];
    const size_t n = read_cgroup(pid, theirs, sizeof(theirs));

    return n > 0 && n == read_cgroup(0, ours, sizeof(ours)) && memcmp(theirs, ours, n) == 0;
}

/* Room for the whole list, whatever the program has room for. */
enum { FIRST_PROCESSES = 64, MOST_PROCESSES = 65536 };

/* Answers as the function does: with fewer places than processes, how many there are. */
#define PROCESSES(name, type)                                                                 \
    static nvmlReturn_t all_of_##name(const struct nvml_functions *nvml, nvmlDevice_t device, \
                                      type **ret_all, unsigned *ret_n)                        \
    {                                                                                         \
        nvmlReturn_t r = NVML_ERROR_INSUFFICIENT_SIZE;                                        \
                                                                                              \
        *ret_all = NULL;                                                                      \
        for (unsigned size = FIRST_PROCESSES;                                                 \
             r == NVML_ERROR_INSUFFICIENT_SIZE && size <= MOST_PROCESSES; size *= 4) {        \
            free(*ret_all);                                                                   \
            *ret_all = calloc(size, sizeof(**ret_all));                                       \
            *ret_n = size;                                                                    \
            r = *ret_all ? nvml->name(device, ret_n, *ret_all) : NVML_ERROR_MEMORY;           \
        }                                                                                     \
        return r;                                                                             \
    }                                                                                         \
                                                                                              \
    nvmlReturn_t name(nvmlDevice_t device, unsigned *infoCount, type *infos)                  \
    {                                                                                         \
        const struct nvml_functions *nvml;                                                    \
        struct session_view view;                                                             \
        unsigned n = 0, n_ours = 0;                                                           \
        type *all;                                                                            \
        nvmlReturn_t r;                                                                       \
                                                                                              \
        NVML_LIBRARY(nvml, name);                                                             \
        if (!infoCount || !is_limited(nvml, device, &view))                                   \
            return nvml->name(device, infoCount, infos);                                      \
        r = all_of_##name(nvml, device, &all, &n);                                            \
        for (unsigned i = 0; r == NVML_SUCCESS && i < n; i++)                                 \
            if (is_in_container(all[i].pid))                                                  \
                all[n_ours++] = all[i];                                                       \
        if (r == NVML_SUCCESS) {                                                              \
            if (n_ours > *infoCount)                                                          \
                r = NVML_ERROR_INSUFFICIENT_SIZE;                                             \
            else if (n_ours > 0 && !infos)                                                    \
                r = NVML_ERROR_INVALID_ARGUMENT;                                              \
            else if (n_ours > 0)                                                              \
                memcpy(infos, all, n_ours * sizeof(*all));                                    \
            *infoCount = n_ours;                                                              \
        }                                                                                     \
        free(all);                                                                            \
        return r;                                                                             \
    }

PROCESSES(nvmlDeviceGetComputeRunningProcesses, nvmlProcessInfo_v1_t)
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v2, nvmlProcessInfo_v2_t)
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v3, nvmlProcessInfo_t)
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses, nvmlProcessInfo_v1_t)
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v2, nvmlProcessInfo_v2_t)
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v3, nvmlProcessInfo_t)
PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses, nvmlProcessInfo_v1_t)
PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses_v2, nvmlProcessInfo_v2_t)
PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses_v3, nvmlProcessInfo_t)

static nvmlReturn_t all_details(const struct nvml_functions *nvml, nvmlDevice_t device,
                                const nvmlProcessDetailList_t *asked, nvmlProcessDetailList_t *all)
{
    nvmlReturn_t r = NVML_ERROR_INSUFFICIENT_SIZE;

    *all = *asked;
    all->procArray = NULL;
    for (unsigned size = FIRST_PROCESSES;
         r == NVML_ERROR_INSUFFICIENT_SIZE && size <= MOST_PROCESSES; size *= 4) {
        free(all->procArray);
        all->procArray = calloc(size, sizeof(*all->procArray));
        all->numProcArrayEntries = size;
        r = all->procArray ? nvml->nvmlDeviceGetRunningProcessDetailList(device, all)
                           : NVML_ERROR_MEMORY;
    }
    return r;
}

nvmlReturn_t nvmlDeviceGetRunningProcessDetailList(nvmlDevice_t device,
                                                   nvmlProcessDetailList_t *plist)
{
    const struct nvml_functions *nvml;
    nvmlProcessDetailList_t all;
    struct session_view view;
    unsigned n_ours = 0;
    nvmlReturn_t r;

    NVML_LIBRARY(nvml, nvmlDeviceGetRunningProcessDetailList);
    if (!plist || !is_limited(nvml, device, &view))
        return nvml->nvmlDeviceGetRunningProcessDetailList(device, plist);
    r = all_details(nvml, device, plist, &all);
    for (unsigned i = 0; r == NVML_SUCCESS && i < all.numProcArrayEntries; i++)
        if (is_in_container(all.procArray[i].pid))
            all.procArray[n_ours++] = all.procArray[i];
    if (r == NVML_SUCCESS) {
        if (n_ours > plist->numProcArrayEntries || (n_ours > 0 && !plist->procArray))
            r = NVML_ERROR_INSUFFICIENT_SIZE;
        else if (n_ours > 0)
            memcpy(plist->procArray, all.procArray, n_ours * sizeof(*all.procArray));
        plist->numProcArrayEntries = n_ours;
    }
    free(all.procArray);
    return r;
}
