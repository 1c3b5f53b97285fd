// SPDX-License-Identifier: Apache-2.0
#include "gpu/test-fake-nvml.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "gpu/nvml-abi.h"

#define NVML_CALL(name, arguments) \
    __attribute__((visibility("default"))) nvmlReturn_t name arguments;
#include "gpu/nvml-calls.def"

struct nvmlDevice_st {
    unsigned index;
    bool registered, seen_lost;
};

static struct fake *fake;
static struct nvmlDevice_st devices[FAKE_GPUS];
static _Atomic uint32_t seen_turn;

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* What every call does first: hang when told to, and fail for a lost GPU. */
static nvmlReturn_t enter(const char *call, nvmlDevice_t device)
{
    int32_t wanted = fake->hang_index;

    while (strcmp(fake->hang_call, call) == 0 &&
           (wanted < 0 || (device && wanted == (int32_t)device->index)))
        pause_ms(1000);
    if (device && fake->lost[device->index])
        device->seen_lost = true;
    return device && device->seen_lost ? NVML_ERROR_GPU_IS_LOST : NVML_SUCCESS;
}

#define ENTER(device)                                     \
    do {                                                  \
        nvmlReturn_t _status = enter(__func__, (device)); \
        if (_status)                                      \
            return _status;                               \
    } while (0)

nvmlReturn_t nvmlInit_v2(void)
{
    const char *path = getenv("FAKE_NVML");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;

    if (fd < 0)
        return NVML_ERROR_DRIVER_NOT_LOADED;
    fake = mmap(NULL, sizeof(*fake), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (fake == MAP_FAILED || fake->not_loaded)
        return NVML_ERROR_DRIVER_NOT_LOADED;
    fake->n_init++;
    seen_turn = fake->event_turn;
    for (unsigned i = 0; i < FAKE_GPUS; i++)
        devices[i] = (struct nvmlDevice_st){.index = i};
    ENTER(NULL);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlShutdown(void)
{
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned int length)
{
    snprintf(version, length, "550.163.01");
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *version)
{
    *version = 12040;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *n)
{
    *n = fake->lists_none ? 0 : FAKE_GPUS;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device)
{
    ENTER(&devices[index]);
    *device = &devices[index];
    return NVML_SUCCESS;
}

#ifndef FAKE_BROKEN
nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned int length)
{
    ENTER(device);
    snprintf(uuid, length, "GPU-0000000%u-aaaa-bbbb-cccc-000000000000", device->index);
    return NVML_SUCCESS;
}
#endif

nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned int length)
{
    ENTER(device);
    snprintf(name, length, "Tesla V100-SXM2-16GB");
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMinorNumber(nvmlDevice_t device, unsigned int *minor)
{
    ENTER(device);
    *minor = device->index;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t *pci)
{
    ENTER(device);
    pci->pciDeviceId = 0x1db110de;
    pci->pciSubSystemId = 0x121210de;
    snprintf(pci->busId, sizeof(pci->busId), "00000000:00:%02X.0", 0x1b + device->index);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory)
{
    ENTER(device);
    *memory = (nvmlMemory_t){.total = 16384ULL << 20, .used = 1 << 20};
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t device, int *major, int *minor)
{
    ENTER(device);
    *major = 7;
    *minor = 0;
    return NVML_SUCCESS;
}

#ifndef FAKE_OLD
nvmlReturn_t nvmlDeviceGetPciInfoExt(nvmlDevice_t device, nvmlPciInfoExt_t *pci)
{
    ENTER(device);
    pci->baseClass = 3;
    pci->subClass = 2;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *memory)
{
    ENTER(device);
    if (memory->version != NVML_STRUCT_VERSION_OF(nvmlMemory_v2_t, 2))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    memory->total = 16384ULL << 20;
    memory->reserved = 400ULL << 20;
    memory->used = 2 << 20;
    memory->free = memory->total - memory->reserved - memory->used;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned int *current, unsigned int *pending)
{
    ENTER(device);
    return NVML_ERROR_NOT_SUPPORTED;
}

nvmlReturn_t nvmlDeviceGetVirtualizationMode(nvmlDevice_t device, nvmlGpuVirtualizationMode_t *mode)
{
    ENTER(device);
    *mode = device->index == 3 ? NVML_GPU_VIRTUALIZATION_MODE_VGPU
                               : NVML_GPU_VIRTUALIZATION_MODE_PASSTHROUGH;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetGpuFabricInfoV(nvmlDevice_t device, nvmlGpuFabricInfoV_t *info)
{
    ENTER(device);
    if (device->index != 3)
        return NVML_ERROR_NOT_SUPPORTED;
    info->state = NVML_GPU_FABRIC_STATE_COMPLETED;
    info->status = NVML_SUCCESS;
    info->cliqueId = 7;
    for (unsigned i = 0; i < 16; i++)
        info->clusterUuid[i] = (unsigned char)(i * 17);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMemoryAffinity(nvmlDevice_t device, unsigned int size,
                                         unsigned long *nodes, nvmlAffinityScope_t scope)
{
    ENTER(device);
    nodes[0] = device->index == 2 ? 2 : 1;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetTopologyCommonAncestor(nvmlDevice_t a, nvmlDevice_t b,
                                                 nvmlGpuTopologyLevel_t *level)
{
    *level = a->index / 2 == b->index / 2 ? NVML_TOPOLOGY_SINGLE : NVML_TOPOLOGY_SYSTEM;
    return NVML_SUCCESS;
}

/* GPU 0 has two links to 1, one to 2 and one to an NVSwitch; 3 has a link that is down. */
static const struct {
    unsigned from, link;
    int to;
} wires[] = {{0, 0, 1}, {0, 1, 1}, {0, 2, 2}, {0, 3, -1}, {1, 0, 0}, {1, 1, 0}, {2, 0, 0}};

nvmlReturn_t nvmlDeviceGetNvLinkState(nvmlDevice_t device, unsigned int link,
                                      nvmlEnableState_t *active)
{
    if (link >= 4)
        return NVML_ERROR_INVALID_ARGUMENT;
    *active = NVML_FEATURE_DISABLED;
    for (unsigned i = 0; i < sizeof(wires) / sizeof(wires[0]); i++)
        if (wires[i].from == device->index && wires[i].link == link)
            *active = NVML_FEATURE_ENABLED;
    return NVML_SUCCESS;
}

static int wire_end(nvmlDevice_t device, unsigned int link)
{
    for (unsigned i = 0; i < sizeof(wires) / sizeof(wires[0]); i++)
        if (wires[i].from == device->index && wires[i].link == link)
            return wires[i].to;
    return -1;
}

nvmlReturn_t nvmlDeviceGetNvLinkRemoteDeviceType(nvmlDevice_t device, unsigned int link,
                                                 nvmlIntNvLinkDeviceType_t *type)
{
    *type =
        wire_end(device, link) < 0 ? NVML_NVLINK_DEVICE_TYPE_SWITCH : NVML_NVLINK_DEVICE_TYPE_GPU;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetNvLinkRemotePciInfo_v2(nvmlDevice_t device, unsigned int link,
                                                 nvmlPciInfo_t *pci)
{
    snprintf(pci->busId, sizeof(pci->busId), "00000000:00:%02X.0", 0x1b + wire_end(device, link));
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t device, int n, nvmlFieldValue_t *values)
{
    ENTER(device);
    values[0].nvmlReturn = NVML_SUCCESS;
    values[0].value.uiVal = fake->recovery[device->index];
    return NVML_SUCCESS;
}

/* One on each GPU. */
nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t device, unsigned int *n,
                                                     nvmlProcessInfo_t *infos)
{
    ENTER(device);
    *n = 1;
    infos[0] = (nvmlProcessInfo_t){
        .pid = 4711, .usedGpuMemory = 1 << 20, .gpuInstanceId = ~0u, .computeInstanceId = ~0u};
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetSupportedEventTypes(nvmlDevice_t device, unsigned long long *types)
{
    ENTER(device);
    *types = nvmlEventTypeXidCriticalError | nvmlEventTypeSingleBitEccError;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlEventSetCreate(nvmlEventSet_t *set)
{
    *set = (nvmlEventSet_t)(void *)devices;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlEventSetFree(nvmlEventSet_t set)
{
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t device, unsigned long long types,
                                      nvmlEventSet_t set)
{
    ENTER(device);
    device->registered = true;
    return types == nvmlEventTypeXidCriticalError ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT;
}

/* As the driver does: a lost device fails the wait for all of them. */
static bool any_lost(void)
{
    for (unsigned i = 0; i < FAKE_GPUS; i++)
        if (devices[i].registered && fake->lost[i])
            return true;
    return false;
}

nvmlReturn_t nvmlEventSetWait_v2(nvmlEventSet_t set, nvmlEventData_t *data, unsigned int timeout_ms)
{
    for (unsigned waited = 0; waited < timeout_ms; waited += 2) {
        uint32_t turn = fake->event_turn, index = fake->event_index;

        ENTER(NULL);
        if (seen_turn != turn || fake->storm) {
            seen_turn = turn;
            data->device = index < FAKE_GPUS ? &devices[index] : NULL;
            data->eventType = nvmlEventTypeXidCriticalError;
            data->eventData = fake->event_xid;
            data->gpuInstanceId = data->computeInstanceId = UINT32_MAX;
            return NVML_SUCCESS;
        }
        if (any_lost())
            return NVML_ERROR_GPU_IS_LOST;
        pause_ms(2);
    }
    return NVML_ERROR_TIMEOUT;
}
#endif
