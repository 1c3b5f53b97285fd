// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/file.h"
#include "base/text.h"
#include "gpu/nvml.h"
#include "gpu/pci.h"

enum { PCI_VENDOR_NVIDIA = 0x10de, NUMA_NODES_MAX = 4096, MINORS_MAX = 1 << 20 };

/* A size of memory outside of these is none. */
#define MEMORY_LEAST_BYTES (UINT64_C(1) << 20)
#define MEMORY_MOST_BYTES  (UINT64_C(1) << 50)

void nvml_pci_address(const char *bus_id, char *ret_address, size_t size)
{
    unsigned domain, bus, device, function = 0;

    /* An NVSwitch that a virtual machine does not see is at FFFFFFFF:FF:FF.0 (H200, driver
     * 580.159). */
    if (sscanf(bus_id, "%8x:%2x:%2x.%1x", &domain, &bus, &device, &function) < 3 || device > 0x1f)
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

/* For a fact of which there is one query. */
static int ask_outcome(struct gpu *gpu, enum fact fact, nvmlReturn_t status, struct error *err,
                       const char *call)
{
    nvml_note_gap(&gpu->gaps[fact], nvml_gap(status));
    return nvml_outcome(status, err, call);
}

static void read_pci_class(struct gpu_driver *driver, nvmlDevice_t device, struct gpu *gpu)
{
    nvmlPciInfoExt_v1_t info = {.version = NVML_STRUCT_VERSION_OF(nvmlPciInfoExt_v1_t, 1)};
    nvmlReturn_t status;
    long code;

    if (sysfs_has_gpu(gpu->pci_address) && read_sysfs(gpu->pci_address, "class", &code)) {
        gpu->pci_class = (uint16_t)((unsigned long)code >> 8);
        return;
    }
    status = NVML_ASK(driver, gpu->uuid, nvmlDeviceGetPciInfoExt, device, &info);
    nvml_note_gap(&gpu->gaps[FACT_CLASS], nvml_gap(status));
    if (status != NVML_SUCCESS)
        return;
    if (info.baseClass > 0 && info.baseClass <= 0xff && info.subClass <= 0xff)
        gpu->pci_class = (uint16_t)(info.baseClass << 8 | info.subClass);
    else
        nvml_note_gap(&gpu->gaps[FACT_CLASS], FACT_ABSURD);
}

/*
 * nvmlDeviceGetNumaNodeId comes last: where GPU memory is a NUMA node of its own (Grace Hopper) it
 * names that node, not the CPU's.
 */
static void read_numa_node(struct gpu_driver *driver, nvmlDevice_t device, struct gpu *gpu)
{
    uint8_t *gap = &gpu->gaps[FACT_NUMA];
    unsigned long nodes[4] = {0};
    unsigned node = 0;
    nvmlReturn_t status;
    long value;

    gpu->numa_node = -1;
    if (sysfs_has_gpu(gpu->pci_address) && read_sysfs(gpu->pci_address, "numa_node", &value)) {
        gpu->numa_node = value >= 0 && value < NUMA_NODES_MAX ? (int)value : -1;
        return;
    }
    status = NVML_ASK(driver, gpu->uuid, nvmlDeviceGetMemoryAffinity, device, 4, nodes,
                      NVML_AFFINITY_SCOPE_NODE);
    if (status == NVML_SUCCESS) {
        for (int i = 0; i < 4 && gpu->numa_node < 0; i++)
            if (nodes[i])
                gpu->numa_node = i * (int)(8 * sizeof(long)) + __builtin_ctzl(nodes[i]);
        return;
    }
    nvml_note_gap(gap, nvml_gap(status));
    status = NVML_ASK(driver, gpu->uuid, nvmlDeviceGetNumaNodeId, device, &node);
    if (status == NVML_SUCCESS && node < NUMA_NODES_MAX) {
        gpu->numa_node = (int)node;
        *gap = FACT_KNOWN;
    } else if (status == NVML_SUCCESS || nvml_gap(status) == FACT_FAILED) {
        /* That few drivers and models have the second query is no reason. */
        nvml_note_gap(gap, status == NVML_SUCCESS ? FACT_ABSURD : FACT_FAILED);
    }
}

static int read_pci(struct gpu_driver *driver, nvmlDevice_t device, struct gpu *gpu,
                    struct error *err)
{
    nvmlPciInfo_t info = {.busId = ""};
    int r;

    r = ask_outcome(gpu, FACT_PCI,
                    NVML_ASK(driver, gpu->uuid, nvmlDeviceGetPciInfo_v3, device, &info), err,
                    "nvmlDeviceGetPciInfo");
    if (r == 0) {
        info.busId[sizeof(info.busId) - 1] = '\0';
        nvml_pci_address(info.busId, gpu->pci_address, sizeof(gpu->pci_address));
        gpu->pci_device_id = info.pciDeviceId;
        gpu->pci_subsystem_id = info.pciSubSystemId;
        if (!gpu->pci_address[0])
            nvml_note_gap(&gpu->gaps[FACT_PCI], FACT_ABSURD);
    }
    read_pci_class(driver, device, gpu);
    read_numa_node(driver, device, gpu);
    return r;
}

static bool is_size(uint64_t total)
{
    return total >= MEMORY_LEAST_BYTES && total <= MEMORY_MOST_BYTES;
}

static nvmlReturn_t ask_memory(struct gpu_driver *driver, nvmlDevice_t device, struct gpu *gpu)
{
    nvmlMemory_v2_t memory = {.version = NVML_STRUCT_VERSION_OF(nvmlMemory_v2_t, 2)};
    nvmlReturn_t status = NVML_ASK(driver, gpu->uuid, nvmlDeviceGetMemoryInfo_v2, device, &memory);

    if (status != NVML_SUCCESS || !is_size(memory.total)) {
        nvml_note_gap(&gpu->gaps[FACT_MEMORY],
                      status == NVML_SUCCESS ? FACT_ABSURD : nvml_gap(status));
        return status;
    }
    gpu->mem_total_bytes = memory.total;
    if (memory.reserved < memory.total)
        gpu->mem_reserved_bytes = memory.reserved;
    else
        nvml_note_gap(&gpu->gaps[FACT_RESERVED], FACT_ABSURD);
    return status;
}

/* Drivers before R510 have no version 2: their total includes what the driver keeps for itself. */
static nvmlReturn_t ask_old_memory(struct gpu_driver *driver, nvmlDevice_t device, struct gpu *gpu)
{
    nvmlMemory_t memory = {.total = 0};
    nvmlReturn_t status = NVML_ASK(driver, gpu->uuid, nvmlDeviceGetMemoryInfo, device, &memory);

    if (status == NVML_SUCCESS && is_size(memory.total)) {
        gpu->mem_total_bytes = memory.total;
        gpu->gaps[FACT_MEMORY] = FACT_KNOWN;
    } else {
        nvml_note_gap(&gpu->gaps[FACT_MEMORY],
                      status == NVML_SUCCESS ? FACT_ABSURD : nvml_gap(status));
    }
    return status;
}

/* Where GPU and CPU have one memory (GB10) neither version is supported. */
static int read_memory(struct gpu_driver *driver, nvmlDevice_t device, struct gpu *gpu,
                       struct error *err)
{
    int r = nvml_outcome(ask_memory(driver, device, gpu), err, "nvmlDeviceGetMemoryInfo");

    if (r != GPU_LOST && gpu->mem_total_bytes == 0)
        r = nvml_outcome(ask_old_memory(driver, device, gpu), err, "nvmlDeviceGetMemoryInfo");
    return r;
}

static int read_capability(struct gpu_driver *driver, nvmlDevice_t device, struct gpu *gpu,
                           struct error *err)
{
    int major = 0, minor = 0, r;

    r = ask_outcome(
        gpu, FACT_CAPABILITY,
        NVML_ASK(driver, gpu->uuid, nvmlDeviceGetCudaComputeCapability, device, &major, &minor),
        err, "nvmlDeviceGetCudaComputeCapability");
    if (r == 0 && major > 0 && major < 100 && minor >= 0 && minor < 100) {
        gpu->cc_major = (unsigned)major;
        gpu->cc_minor = (unsigned)minor;
    } else if (r == 0) {
        nvml_note_gap(&gpu->gaps[FACT_CAPABILITY], FACT_ABSURD);
    }
    return r;
}

/* A model, or a driver, that does not know MIG cannot be partitioned: that is an answer. */
static int read_mig(struct gpu_driver *driver, nvmlDevice_t device, struct gpu *gpu,
                    struct error *err)
{
    unsigned current = 0, pending = 0;
    nvmlReturn_t status =
        NVML_ASK(driver, gpu->uuid, nvmlDeviceGetMigMode, device, &current, &pending);

    gpu->mig_capable = status == NVML_SUCCESS && current <= 1;
    gpu->mig_enabled = gpu->mig_capable && current == 1;
    gpu->layout.enabled = gpu->mig_enabled;
    gpu->layout.pending = gpu->mig_capable && pending <= 1 ? pending : gpu->mig_enabled;
    if (nvml_gap(status) == FACT_FAILED)
        nvml_note_gap(&gpu->gaps[FACT_MIG], FACT_FAILED);
    else if (status == NVML_SUCCESS && !gpu->mig_capable)
        nvml_note_gap(&gpu->gaps[FACT_MIG], FACT_ABSURD);
    return nvml_outcome(status, err, "nvmlDeviceGetMigMode");
}

void nvml_read_mig_mode(struct gpu_driver *driver, nvmlDevice_t device, struct gpu *gpu)
{
    struct error err = ERROR_INIT;

    gpu->gaps[FACT_MIG] = FACT_KNOWN;
    if (read_mig(driver, device, gpu, &err) == GPU_LOST)
        snprintf(gpu->unusable, sizeof(gpu->unusable), "%.180s", error_text(&err));
}

/* As with MIG, a model or driver that does not know it is an answer: it is no vGPU. */
static int read_virtualization(struct gpu_driver *driver, nvmlDevice_t device, struct gpu *gpu,
                               struct error *err)
{
    nvmlGpuVirtualizationMode_t mode = NVML_GPU_VIRTUALIZATION_MODE_NONE;
    nvmlReturn_t status =
        NVML_ASK(driver, gpu->uuid, nvmlDeviceGetVirtualizationMode, device, &mode);

    gpu->is_vgpu = status == NVML_SUCCESS && mode == NVML_GPU_VIRTUALIZATION_MODE_VGPU;
    if (nvml_gap(status) == FACT_FAILED)
        nvml_note_gap(&gpu->gaps[FACT_VIRTUALIZATION], FACT_FAILED);
    else if (status == NVML_SUCCESS && mode > NVML_GPU_VIRTUALIZATION_MODE_HOST_VSGA)
        nvml_note_gap(&gpu->gaps[FACT_VIRTUALIZATION], FACT_ABSURD);
    return nvml_outcome(status, err, "nvmlDeviceGetVirtualizationMode");
}

static int read_minor(struct gpu_driver *driver, nvmlDevice_t device, struct gpu *gpu,
                      struct error *err)
{
    unsigned minor = 0;
    int r;

    r = ask_outcome(gpu, FACT_MINOR,
                    NVML_ASK(driver, gpu->uuid, nvmlDeviceGetMinorNumber, device, &minor), err,
                    "nvmlDeviceGetMinorNumber");
    if (r == 0 && minor < MINORS_MAX)
        gpu->minor = (int)minor;
    else if (r == 0)
        nvml_note_gap(&gpu->gaps[FACT_MINOR], FACT_ABSURD);
    /* On WSL2 no GPU has one. */
    gpu->is_dxg = gpu->minor < 0 && pci_has_dxg();
    return r;
}

void nvml_drop_double_minors(struct inventory *inventory)
{
    for (size_t i = 0; i < inventory->n_gpus; i++)
        for (size_t j = i + 1; j < inventory->n_gpus; j++) {
            struct gpu *a = &inventory->gpus[i], *b = &inventory->gpus[j];

            if (a->minor >= 0 && a->minor == b->minor)
                a->gaps[FACT_MINOR] = b->gaps[FACT_MINOR] = FACT_ABSURD;
        }
    for (size_t i = 0; i < inventory->n_gpus; i++)
        if (inventory->gpus[i].gaps[FACT_MINOR])
            inventory->gpus[i].minor = -1;
}

static void set_fabric(struct gpu *gpu, unsigned state, nvmlReturn_t status,
                       const unsigned char *cluster, unsigned clique)
{
    size_t length = 0;

    gpu->gaps[FACT_FABRIC] = state > NVML_GPU_FABRIC_STATE_COMPLETED ? FACT_ABSURD : FACT_KNOWN;
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

/* As with MIG, only a failure leaves it unknown: most models have no fabric, and do not know it. */
static int read_fabric(struct gpu_driver *driver, nvmlDevice_t device, struct gpu *gpu,
                       struct error *err)
{
    nvmlGpuFabricInfo_v2_t info = {.version = NVML_STRUCT_VERSION_OF(nvmlGpuFabricInfo_v2_t, 2)};
    nvmlGpuFabricInfo_t old = {.state = 0};
    nvmlReturn_t status = NVML_ASK(driver, gpu->uuid, nvmlDeviceGetGpuFabricInfoV, device, &info);
    int r = nvml_outcome(status, err, "nvmlDeviceGetGpuFabricInfo");

    if (r == 0) {
        set_fabric(gpu, info.state, info.status, info.clusterUuid, info.cliqueId);
        return 0;
    }
    if (r == GPU_LOST)
        return r;
    if (nvml_gap(status) == FACT_FAILED)
        nvml_note_gap(&gpu->gaps[FACT_FABRIC], FACT_FAILED);
    status = NVML_ASK(driver, gpu->uuid, nvmlDeviceGetGpuFabricInfo, device, &old);
    if (status == NVML_SUCCESS)
        set_fabric(gpu, old.state, old.status, old.clusterUuid, old.cliqueId);
    else if (nvml_gap(status) == FACT_FAILED)
        nvml_note_gap(&gpu->gaps[FACT_FABRIC], FACT_FAILED);
    return nvml_outcome(status, err, "nvmlDeviceGetGpuFabricInfo");
}

/* It becomes a device id, part of a path, and an item of a list: nothing but what NVIDIA uses. */
static bool is_uuid(const char *uuid)
{
    const char *rest = uuid + strlen("GPU-");

    return str_starts_with(uuid, "GPU-") && *rest &&
           rest[strspn(rest, "-0123456789abcdefABCDEF")] == '\0';
}

static int read_uuid(struct gpu_driver *driver, nvmlDevice_t device, struct gpu *gpu,
                     struct error *err)
{
    char who[16], uuid[GPU_UUID_SIZE] = "";
    int r;

    snprintf(who, sizeof(who), "#%u", gpu->index);
    r = nvml_outcome(NVML_ASK(driver, who, nvmlDeviceGetUUID, device, uuid, (unsigned)sizeof(uuid)),
                     err, "nvmlDeviceGetUUID");
    uuid[sizeof(uuid) - 1] = '\0';
    if (r == 0 && !is_uuid(uuid)) {
        error_set(err, -EBADMSG, "the driver returned nonsense (nvmlDeviceGetUUID)");
        return GPU_UNSUPPORTED;
    }
    if (r == 0)
        memcpy(gpu->uuid, uuid, sizeof(gpu->uuid));
    return r;
}

static int read_model(struct gpu_driver *driver, nvmlDevice_t device, struct gpu *gpu,
                      struct error *err)
{
    char model[GPU_NAME_SIZE] = "";
    int r = ask_outcome(
        gpu, FACT_MODEL,
        NVML_ASK(driver, gpu->uuid, nvmlDeviceGetName, device, model, (unsigned)sizeof(model)), err,
        "nvmlDeviceGetName");

    model[sizeof(model) - 1] = '\0';
    str_make_line(model);
    if (r == 0 && model[strspn(model, " ?")])
        memcpy(gpu->model, model, sizeof(gpu->model));
    else if (r == 0)
        nvml_note_gap(&gpu->gaps[FACT_MODEL], FACT_ABSURD);
    return r;
}

/* In query order. Only its UUID is needed: without one a GPU cannot be named to anybody. */
static const struct query {
    int (*read)(struct gpu_driver *driver, nvmlDevice_t device, struct gpu *gpu, struct error *err);
    bool needed; /* otherwise only a lost GPU is an error: the fact stays unknown */
} queries[] = {
    {read_uuid, true}, {read_model, false},  {read_minor, false},
    {read_pci, false}, {read_memory, false}, {read_capability, false},
    {read_mig, false}, {read_fabric, false}, {read_virtualization, false},
};

/* For a lost GPU it does not matter what could not be asked. */
static void set_unusable(struct gpu *gpu, int outcome, const char *lack, const struct error *err)
{
    const bool is_lost = outcome == GPU_LOST;

    snprintf(gpu->unusable, sizeof(gpu->unusable), "%s%s%.180s", is_lost ? "" : lack,
             is_lost ? "" : ": ", error_text(err));
    gpu->is_out_of_reach = outcome < 0 && outcome != -EREMOTEIO;
}

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
    if (r == 0 && !handle->device) {
        error_set(&err, -EBADMSG, "the driver returned none (nvmlDeviceGetHandleByIndex)");
        r = GPU_UNSUPPORTED; /* asking again helps as little */
    }
    if (r) {
        handle->device = NULL;
        set_unusable(gpu, r, "it has no handle", &err);
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(queries); i++) {
        r = queries[i].read(driver, handle->device, gpu, &err);
        if (r == GPU_LOST || (r && queries[i].needed)) {
            set_unusable(gpu, r, "it has no UUID to name it by", &err);
            break;
        }
    }
    snprintf(handle->uuid, sizeof(handle->uuid), "%s", gpu->uuid);
}
