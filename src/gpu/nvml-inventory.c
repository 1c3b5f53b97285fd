// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "gpu/nvml.h"

enum { PCI_VENDOR_NVIDIA = 0x10de };

void nvml_pci_address(const char *bus_id, char *ret_address, size_t size)
{
    unsigned domain, bus, device, function = 0;

    if (sscanf(bus_id, "%8x:%2x:%2x.%1x", &domain, &bus, &device, &function) < 3)
        ret_address[0] = '\0';
    else
        snprintf(ret_address, size, "%04x:%02x:%02x.%x", domain, bus, device, function);
}

/* A number from /sys/bus/pci/devices/<address>/<name>; false if there is none. */
static bool read_sysfs(const char *address, const char *name, long *ret_value)
{
    const char *root = getenv("GPUSLICE_SYSFS");
    cleanup_free char *data = NULL;
    char path[512];
    size_t size;
    char *end;
    long value;

    snprintf(path, sizeof(path), "%s/bus/pci/devices/%s/%s", root ? root : "/sys", address, name);
    if (file_read(path, 64, &data, &size, NULL) < 0)
        return false;
    value = strtol(data, &end, 0);
    if (end == data)
        return false;
    *ret_value = value;
    return true;
}

/* A simulated GPU may have the address of some other device of this host. */
static bool sysfs_has_gpu(const char *address)
{
    long vendor;

    return address[0] && read_sysfs(address, "vendor", &vendor) && vendor == PCI_VENDOR_NVIDIA;
}

static void read_pci_class(struct gpu_driver *driver, nvmlDevice_t device, struct gpu *gpu)
{
    nvmlPciInfoExt_v1_t info = {.version = NVML_STRUCT_VERSION_OF(nvmlPciInfoExt_v1_t, 1)};
    long code;

    if (sysfs_has_gpu(gpu->pci_address) && read_sysfs(gpu->pci_address, "class", &code))
        gpu->pci_class = (uint16_t)((unsigned long)code >> 8);
    else if (NVML_ASK(driver, gpu->uuid, nvmlDeviceGetPciInfoExt, device, &info) == NVML_SUCCESS)
        gpu->pci_class = (uint16_t)((info.baseClass & 0xff) << 8 | (info.subClass & 0xff));
}

/*
 * nvmlDeviceGetNumaNodeId comes last: where GPU memory is a NUMA node of its own (Grace Hopper) it
 * names that node, not the CPU's.
 */
static void read_numa_node(struct gpu_driver *driver, nvmlDevice_t device, struct gpu *gpu)
{
    unsigned long nodes[4] = {0};
    unsigned node = 0;
    long value;

    gpu->numa_node = -1;
    if (sysfs_has_gpu(gpu->pci_address) && read_sysfs(gpu->pci_address, "numa_node", &value)) {
        gpu->numa_node = value >= 0 && value < 4096 ? (int)value : -1;
        return;
    }
    if (NVML_ASK(driver, gpu->uuid, nvmlDeviceGetMemoryAffinity, device, 4, nodes,
                 NVML_AFFINITY_SCOPE_NODE) == NVML_SUCCESS) {
        for (int i = 0; i < 4 && gpu->numa_node < 0; i++)
            if (nodes[i])
                gpu->numa_node = i * (int)(8 * sizeof(long)) + __builtin_ctzl(nodes[i]);
        return;
    }
    if (NVML_ASK(driver, gpu->uuid, nvmlDeviceGetNumaNodeId, device, &node) == NVML_SUCCESS &&
        node < 4096)
        gpu->numa_node = (int)node;
}

static int read_pci(struct gpu_driver *driver, nvmlDevice_t device, struct gpu *gpu,
                    struct error *err)
{
    nvmlPciInfo_t info = {.busId = ""};
    int r;

    r = nvml_outcome(NVML_ASK(driver, gpu->uuid, nvmlDeviceGetPciInfo_v3, device, &info), err,
                     "nvmlDeviceGetPciInfo");
    if (r == 0) {
        info.busId[sizeof(info.busId) - 1] = '\0';
        nvml_pci_address(info.busId, gpu->pci_address, sizeof(gpu->pci_address));
        gpu->pci_device_id = info.pciDeviceId;
        gpu->pci_subsystem_id = info.pciSubSystemId;
    }
    read_pci_class(driver, device, gpu);
    read_numa_node(driver, device, gpu);
    return r;
}

/* Drivers before R510 have no version 2: their total includes what the driver keeps for itself. */
static int read_memory(struct gpu_driver *driver, nvmlDevice_t device, struct gpu *gpu,
                       struct error *err)
{
    nvmlMemory_v2_t memory = {.version = NVML_STRUCT_VERSION_OF(nvmlMemory_v2_t, 2)};
    nvmlMemory_t old = {.total = 0};
    int r;

    r = nvml_outcome(NVML_ASK(driver, gpu->uuid, nvmlDeviceGetMemoryInfo_v2, device, &memory), err,
                     "nvmlDeviceGetMemoryInfo");
    if (r == 0) {
        gpu->mem_total_bytes = memory.total;
        gpu->mem_reserved_bytes = memory.reserved;
        return 0;
    }
    if (r == GPU_LOST)
        return r;
    r = nvml_outcome(NVML_ASK(driver, gpu->uuid, nvmlDeviceGetMemoryInfo, device, &old), err,
                     "nvmlDeviceGetMemoryInfo");
    if (r == 0)
        gpu->mem_total_bytes = old.total;
    return r;
}

static int read_capability(struct gpu_driver *driver, nvmlDevice_t device, struct gpu *gpu,
                           struct error *err)
{
    int major = 0, minor = 0, r;

    r = nvml_outcome(
        NVML_ASK(driver, gpu->uuid, nvmlDeviceGetCudaComputeCapability, device, &major, &minor),
        err, "nvmlDeviceGetCudaComputeCapability");
    if (r == 0 && major >= 0 && minor >= 0) {
        gpu->cc_major = (unsigned)major;
        gpu->cc_minor = (unsigned)minor;
    }
    return r;
}

static int read_mig(struct gpu_driver *driver, nvmlDevice_t device, struct gpu *gpu,
                    struct error *err)
{
    unsigned current = 0, pending = 0;
    int r;

    r = nvml_outcome(NVML_ASK(driver, gpu->uuid, nvmlDeviceGetMigMode, device, &current, &pending),
                     err, "nvmlDeviceGetMigMode");
    gpu->mig_capable = r == 0;
    gpu->mig_enabled = r == 0 && current == 1;
    return r;
}

static int read_minor(struct gpu_driver *driver, nvmlDevice_t device, struct gpu *gpu,
                      struct error *err)
{
    unsigned minor = 0;
    int r;

    r = nvml_outcome(NVML_ASK(driver, gpu->uuid, nvmlDeviceGetMinorNumber, device, &minor), err,
                     "nvmlDeviceGetMinorNumber");
    if (r == 0 && minor < 1U << 20)
        gpu->minor = (int)minor;
    return r;
}

static void set_fabric(struct gpu *gpu, unsigned state, nvmlReturn_t status,
                       const unsigned char *cluster, unsigned clique)
{
    size_t length = 0;

    gpu->fabric_completed = state == NVML_GPU_FABRIC_STATE_COMPLETED && status == NVML_SUCCESS;
    if (!gpu->fabric_completed)
        return;
    for (int i = 0; i < NVML_GPU_FABRIC_UUID_LEN; i++) {
        const char *dash = i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "";

        length +=
            (size_t)snprintf(gpu->fabric_cluster + length, sizeof(gpu->fabric_cluster) - length,
                             "%s%02x", dash, cluster[i]);
    }
    gpu->fabric_clique = clique;
}

static int read_fabric(struct gpu_driver *driver, nvmlDevice_t device, struct gpu *gpu,
                       struct error *err)
{
    nvmlGpuFabricInfo_v2_t info = {.version = NVML_STRUCT_VERSION_OF(nvmlGpuFabricInfo_v2_t, 2)};
    nvmlGpuFabricInfo_t old = {.state = 0};
    int r;

    r = nvml_outcome(NVML_ASK(driver, gpu->uuid, nvmlDeviceGetGpuFabricInfoV, device, &info), err,
                     "nvmlDeviceGetGpuFabricInfo");
    if (r == 0) {
        set_fabric(gpu, info.state, info.status, info.clusterUuid, info.cliqueId);
        return 0;
    }
    if (r == GPU_LOST)
        return r;
    r = nvml_outcome(NVML_ASK(driver, gpu->uuid, nvmlDeviceGetGpuFabricInfo, device, &old), err,
                     "nvmlDeviceGetGpuFabricInfo");
    if (r == 0)
        set_fabric(gpu, old.state, old.status, old.clusterUuid, old.cliqueId);
    return r;
}

static int read_identity(struct gpu_driver *driver, nvmlDevice_t device, struct gpu *gpu,
                         struct error *err)
{
    char who[16];
    int r;

    snprintf(who, sizeof(who), "#%u", gpu->index);
    r = nvml_outcome(
        NVML_ASK(driver, who, nvmlDeviceGetUUID, device, gpu->uuid, (unsigned)sizeof(gpu->uuid)),
        err, "nvmlDeviceGetUUID");
    if (r) {
        gpu->uuid[0] = '\0';
        return r;
    }
    gpu->uuid[sizeof(gpu->uuid) - 1] = '\0';
    r = nvml_outcome(NVML_ASK(driver, gpu->uuid, nvmlDeviceGetName, device, gpu->model,
                              (unsigned)sizeof(gpu->model)),
                     err, "nvmlDeviceGetName");
    gpu->model[sizeof(gpu->model) - 1] = '\0';
    return r;
}

/* In query order. A GPU without one of the required facts is unusable. */
static const struct fact {
    int (*read)(struct gpu_driver *driver, nvmlDevice_t device, struct gpu *gpu, struct error *err);
    bool needed; /* otherwise only a lost GPU is an error: the fact stays unknown */
} facts[] = {
    {read_identity, true},    {read_minor, false}, {read_pci, false},    {read_memory, true},
    {read_capability, false}, {read_mig, false},   {read_fabric, false},
};

void nvml_read_gpu(struct gpu_driver *driver, unsigned index, struct nvml_gpu *handle,
                   struct gpu *gpu)
{
    struct error err = ERROR_INIT;
    char who[16];
    int r;

    *gpu = (struct gpu){.index = index, .minor = -1, .numa_node = -1};
    snprintf(who, sizeof(who), "#%u", index);
    r = nvml_outcome(NVML_ASK_FOR(driver, GUARD_SLOW, who, nvmlDeviceGetHandleByIndex_v2, index,
                                  &handle->device),
                     &err, "nvmlDeviceGetHandleByIndex");
    if (r) {
        handle->device = NULL;
        snprintf(gpu->unusable, sizeof(gpu->unusable), "%.150s", error_text(&err));
        return;
    }
    for (size_t i = 0; i < sizeof(facts) / sizeof(facts[0]); i++) {
        r = facts[i].read(driver, handle->device, gpu, &err);
        if (r == GPU_LOST || (r && facts[i].needed)) {
            snprintf(gpu->unusable, sizeof(gpu->unusable), "%.150s", error_text(&err));
            break;
        }
    }
    snprintf(handle->uuid, sizeof(handle->uuid), "%s", gpu->uuid);
}
