// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "gpu/nvml.h"
#include "gpu/pci.h"

/* Events that mark a device. Reporting the ECC error twice, also as XID 48, does no harm. */
#define WATCHED_EVENTS ((unsigned)nvmlEventTypeXidCriticalError | nvmlEventTypeDoubleBitEccError)

enum {
    XID_DOUBLE_BIT_ECC = 48,
    HANDLES_TRIED = 16,        /* without one, before the GPUs end */
    RECOVERY_ACTION_MAX = 255, /* of what a driver to come may add */
};

static void nvml_close(struct gpu_driver *driver)
{
    if (!driver)
        return;
    for (size_t i = 0; i < driver->n_gpus; i++)
        nvml_forget_clients(&driver->gpus[i]);
    if (driver->events)
        (void)NVML_ASK(driver, "", nvmlEventSetFree, driver->events);
    (void)NVML_ASK(driver, "", nvmlShutdown);
    nvml_library_unload(&driver->library);
    free(driver->gpus);
    free(driver);
}

static int nvml_open(const char *library, struct gpu_driver **ret_driver, struct error *err)
{
    cleanup_free struct gpu_driver *driver = calloc(1, sizeof(*driver));
    int r;

    if (!driver)
        return -ENOMEM;
    r = nvml_library_load(&driver->library, library ? library : "libnvidia-ml.so.1", err);
    if (r < 0)
        return r;
    r = nvml_outcome(NVML_ASK_FOR(driver, GUARD_SLOW, "", nvmlInit_v2), err, "nvmlInit");
    if (r) {
        nvml_library_unload(&driver->library);
        return r < 0 ? r : -ENODEV;
    }
    *ret_driver = TAKE_PTR(driver);
    return 0;
}

static bool is_cuda(int version)
{
    return version >= 1000 && version < 100000;
}

/* The second version asks libcuda.so.1, which a container with NVIDIA_DRIVER_CAPABILITIES=utility
 * does not have: LIBRARY_NOT_FOUND (seen on an H100, driver 580.159). The first then tells what the
 * driver was built for. */
static int cuda_version(struct gpu_driver *driver, uint8_t *gap)
{
    int version = 0;
    nvmlReturn_t status = NVML_ASK(driver, "", nvmlSystemGetCudaDriverVersion_v2, &version);

    nvml_note_gap(gap, nvml_gap(status));
    if (status != NVML_SUCCESS || !is_cuda(version)) {
        status = NVML_ASK(driver, "", nvmlSystemGetCudaDriverVersion, &version);
        nvml_note_gap(gap, nvml_gap(status));
    }
    if (status == NVML_SUCCESS)
        *gap = is_cuda(version) ? FACT_KNOWN : FACT_ABSURD;
    return *gap ? 0 : version;
}

static bool is_version(const char *text)
{
    return *text >= '0' && *text <= '9' && text[strspn(text, "0123456789.")] == '\0';
}

/* The kernel module has the version too, where NVML does not tell it. */
static void driver_version(struct gpu_driver *driver, struct inventory *inventory)
{
    char *version = inventory->driver_version;
    nvmlReturn_t status = NVML_ASK(driver, "", nvmlSystemGetDriverVersion, version,
                                   (unsigned)sizeof(inventory->driver_version));
    enum fact_gap gap = nvml_gap(status);

    version[sizeof(inventory->driver_version) - 1] = '\0';
    if (status == NVML_SUCCESS && !is_version(version))
        gap = FACT_ABSURD;
    if (gap != FACT_KNOWN)
        pci_module_version(version, sizeof(inventory->driver_version));
    if (!is_version(version)) {
        version[0] = '\0';
        inventory->gaps[FACT_DRIVER_VERSION] = (uint8_t)gap;
    }
}

static void read_versions(struct gpu_driver *driver, struct inventory *inventory)
{
    driver_version(driver, inventory);
    inventory->cuda_version = cuda_version(driver, &inventory->gaps[FACT_CUDA_VERSION]);
}

static bool is_avoided(const struct gpu_driver *driver, unsigned index)
{
    return driver->avoided[index / 64] >> index % 64 & 1;
}

/* GPUs by their handles, where the driver does not count them: up to the last one that has one. */
static unsigned count_handles(struct gpu_driver *driver)
{
    unsigned n = 0;

    for (unsigned i = 0; i < NVML_GPUS_MAX && i < n + HANDLES_TRIED; i++) {
        nvmlDevice_t device = NULL;
        char who[16];

        snprintf(who, sizeof(who), "#%u", i);
        if (is_avoided(driver, i) ||
            (NVML_ASK_FOR(driver, GUARD_SLOW, who, nvmlDeviceGetHandleByIndex_v2, i, &device) ==
                 NVML_SUCCESS &&
             device))
            n = i + 1;
    }
    return n;
}

static int count_gpus(struct gpu_driver *driver, unsigned *ret_n, struct error *err)
{
    unsigned n = 0;
    int r =
        nvml_outcome(NVML_ASK(driver, "", nvmlDeviceGetCount_v2, &n), err, "nvmlDeviceGetCount");

    if (r == 0 && n > NVML_GPUS_MAX)
        r = error_set(err, -E2BIG, "the driver counts %u GPUs, more than %d", n, NVML_GPUS_MAX);
    if (r != 0) {
        n = count_handles(driver);
        if (n == 0)
            return r < 0 ? r : -EIO;
    }
    *ret_n = n;
    return 0;
}

static int make_room(struct gpu_driver *driver, struct inventory *inventory, unsigned n)
{
    free(driver->gpus);
    driver->n_gpus = 0;
    driver->gpus = n ? calloc(n, sizeof(*driver->gpus)) : NULL;
    inventory->gpus = n ? calloc(n, sizeof(*inventory->gpus)) : NULL;
    if (n && (!driver->gpus || !inventory->gpus))
        return -ENOMEM;
    driver->n_gpus = n;
    inventory->n_gpus = n;
    return 0;
}

static void nvml_avoid(struct gpu_driver *driver, unsigned index)
{
    if (index < NVML_GPUS_MAX)
        driver->avoided[index / 64] |= UINT64_C(1) << index % 64;
}

static void read_gpu(struct gpu_driver *driver, struct gpu *gpu, unsigned index)
{
    if (is_avoided(driver, index)) {
        *gpu = (struct gpu){.index = index, .minor = -1, .numa_node = -1};
        snprintf(gpu->unusable, sizeof(gpu->unusable), "a driver call for it did not return");
    } else {
        nvml_read_gpu(driver, index, &driver->gpus[index], gpu);
    }
}

static int nvml_inventory(struct gpu_driver *driver, struct inventory *ret_inventory,
                          struct error *err)
{
    cleanup(inventory_deinit) struct inventory inventory = INVENTORY_INIT;
    unsigned n = 0;
    int r;

    r = count_gpus(driver, &n, err);
    if (r < 0)
        return r;
    read_versions(driver, &inventory);
    r = make_room(driver, &inventory, n);
    if (r < 0)
        return r;
    for (unsigned i = 0; i < n; i++)
        read_gpu(driver, &inventory.gpus[i], i);
    nvml_drop_double_minors(&inventory);
    r = nvml_read_links(driver, &inventory);
    if (r == 0)
        r = nvml_read_partitions(driver, &inventory);
    if (r < 0)
        return r;
    *ret_inventory = inventory;
    inventory = (struct inventory)INVENTORY_INIT;
    return 0;
}

static int nvml_partitions(struct gpu_driver *driver, struct inventory *inventory, const char *uuid,
                           struct error *err)
{
    int r = nvml_reread_partitions(driver, inventory, uuid);

    return r < 0 ? error_set_errno(err, r, "cannot read how the GPUs are partitioned") : 0;
}

/* NULL: this session has none. */
static const struct nvml_gpu *find_gpu(const struct gpu_driver *driver, const char *uuid)
{
    for (size_t i = 0; i < driver->n_gpus; i++)
        if (driver->gpus[i].device && strcasecmp(driver->gpus[i].uuid, uuid) == 0)
            return &driver->gpus[i];
    return NULL;
}

static bool nvml_reports_changes(const struct gpu_driver *driver, const char *uuid)
{
    const struct nvml_gpu *gpu = find_gpu(driver, uuid);

    return gpu && gpu->reports_changes;
}

int nvml_find_device(struct gpu_driver *driver, const char *uuid, nvmlDevice_t *ret_device,
                     struct error *err)
{
    const struct nvml_gpu *gpu = find_gpu(driver, uuid);
    nvmlDevice_t device = NULL;
    int r;

    if (gpu) {
        *ret_device = gpu->device;
        return 0;
    }
    r = nvml_outcome(NVML_ASK(driver, uuid, nvmlDeviceGetHandleByUUID, uuid, &device), err,
                     "nvmlDeviceGetHandleByUUID");
    if (r == 0)
        *ret_device = device;
    return r == GPU_UNSUPPORTED || r == GPU_TIMEOUT ? -ENXIO : r;
}

/* The newest version that the driver supports of a query that reaches the GPU. */
static int probe_memory(struct gpu_driver *driver, nvmlDevice_t device, const char *uuid,
                        struct gpu_probe *unused, struct error *err)
{
    nvmlMemory_v2_t memory = {.version = NVML_STRUCT_VERSION_OF(nvmlMemory_v2_t, 2)};
    nvmlMemory_t old = {.used = 0};
    int r;

    (void)unused;
    r = nvml_outcome(NVML_ASK(driver, uuid, nvmlDeviceGetMemoryInfo_v2, device, &memory), err,
                     "nvmlDeviceGetMemoryInfo");
    if (r != GPU_UNSUPPORTED)
        return r;
    return nvml_outcome(NVML_ASK(driver, uuid, nvmlDeviceGetMemoryInfo, device, &old), err,
                        "nvmlDeviceGetMemoryInfo");
}

/* Supported since R565; older drivers reject the field. Unknown future values count as reset. */
static int probe_recovery(struct gpu_driver *driver, nvmlDevice_t device, const char *uuid,
                          struct gpu_probe *probe, struct error *err)
{
    nvmlFieldValue_t field = {.fieldId = NVML_FI_DEV_GET_GPU_RECOVERY_ACTION};
    int r;

    r = nvml_outcome(NVML_ASK(driver, uuid, nvmlDeviceGetFieldValues, device, 1, &field), err,
                     "nvmlDeviceGetFieldValues");
    if (r == 0)
        r = nvml_outcome(field.nvmlReturn, err, "nvmlDeviceGetFieldValues");
    if (r)
        return r == -EINVAL ? GPU_UNSUPPORTED : r;
    if (field.value.uiVal > RECOVERY_ACTION_MAX)
        return GPU_UNSUPPORTED;
    switch (field.value.uiVal) {
    case NVML_GPU_RECOVERY_ACTION_NONE:
        probe->recovery = GPU_RECOVERY_NONE;
        break;
    case NVML_GPU_RECOVERY_ACTION_NODE_REBOOT:
        probe->recovery = GPU_RECOVERY_REBOOT;
        break;
    case NVML_GPU_RECOVERY_ACTION_DRAIN_P2P:
    case NVML_GPU_RECOVERY_ACTION_DRAIN_AND_RESET:
        probe->recovery = GPU_RECOVERY_DRAIN;
        break;
    default:
        probe->recovery = GPU_RECOVERY_RESET;
    }
    return 0;
}

static int probe_energy(struct gpu_driver *driver, nvmlDevice_t device, const char *uuid,
                        struct gpu_probe *probe, struct error *err)
{
    unsigned long long energy = 0;
    int r =
        nvml_outcome(NVML_ASK(driver, uuid, nvmlDeviceGetTotalEnergyConsumption, device, &energy),
                     err, "nvmlDeviceGetTotalEnergyConsumption");

    if (r == 0)
        probe->energy_millijoule = energy;
    return r;
}

/*
 * A device that answers one of these responds. Each may be unsupported, or fail for good on a
 * device that works (memory on GB10), so a device is silent only if some fail and none succeeds.
 */
static int (*const probes[])(struct gpu_driver *driver, nvmlDevice_t device, const char *uuid,
                             struct gpu_probe *probe,
                             struct error *err) = {probe_memory, probe_recovery, probe_energy};

static int nvml_probe(struct gpu_driver *driver, const char *uuid, struct gpu_probe *ret_probe,
                      struct error *err)
{
    struct gpu_probe probe = GPU_PROBE_INIT;
    struct error failure = ERROR_INIT;
    bool answers = false, fails = false;
    nvmlDevice_t device;
    int r = nvml_find_device(driver, uuid, &device, err);

    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(probes); i++) {
        struct error why = ERROR_INIT;
        int outcome = probes[i](driver, device, uuid, &probe, &why);

        answers |= outcome == 0;
        if (outcome == GPU_LOST || (outcome != 0 && outcome != GPU_UNSUPPORTED && !fails))
            failure = why;
        fails |= outcome != 0 && outcome != GPU_UNSUPPORTED;
        if (outcome == GPU_LOST)
            r = GPU_LOST;
    }
    if (r == 0 && fails && !answers)
        r = failure.code < 0 ? failure.code : -EIO;
    if (r == 0)
        *ret_probe = probe;
    else if (err && *error_text(&failure))
        *err = failure;
    return r == 0 || r == GPU_LOST || r < 0 ? r : -EIO;
}

/* With changes of how it is partitioned, where the driver reports those. */
static int register_events(struct gpu_driver *driver, const char *uuid, nvmlDevice_t device,
                           unsigned long long supported, struct error *err)
{
    const unsigned long long wanted[] = {WATCHED_EVENTS | nvmlEventMigConfigChange, WATCHED_EVENTS};
    int r = 0;

    for (size_t i = supported & nvmlEventMigConfigChange ? 0 : 1; i < ARRAY_SIZE(wanted); i++) {
        r = nvml_outcome(NVML_ASK(driver, uuid, nvmlDeviceRegisterEvents, device,
                                  supported & wanted[i], driver->events),
                         err, "nvmlDeviceRegisterEvents");
        if (r)
            continue;
        for (size_t k = 0; k < driver->n_gpus; k++)
            driver->gpus[k].reports_changes |= driver->gpus[k].device == device && i == 0;
        break;
    }
    return r;
}

static int nvml_watch(struct gpu_driver *driver, const char *uuid, struct error *err)
{
    unsigned long long supported = 0;
    nvmlDevice_t device;
    int r;

    r = nvml_find_device(driver, uuid, &device, err);
    if (r)
        return r;
    r = nvml_outcome(NVML_ASK(driver, uuid, nvmlDeviceGetSupportedEventTypes, device, &supported),
                     err, "nvmlDeviceGetSupportedEventTypes");
    if (r)
        return r;
    if (!(supported & WATCHED_EVENTS)) {
        error_set(
            err, -ENOTSUP,
            "the driver reports no XID events for this GPU (nvmlDeviceGetSupportedEventTypes)");
        return GPU_UNSUPPORTED;
    }
    if (!driver->events) {
        r = nvml_outcome(NVML_ASK(driver, "", nvmlEventSetCreate, &driver->events), err,
                         "nvmlEventSetCreate");
        if (r) {
            driver->events = NULL;
            return r;
        }
    }
    return register_events(driver, uuid, device, supported, err);
}

static void name_device(struct gpu_driver *driver, nvmlDevice_t device, char *ret_uuid)
{
    ret_uuid[0] = '\0';
    for (size_t i = 0; device && i < driver->n_gpus; i++)
        if (driver->gpus[i].device == device)
            memcpy(ret_uuid, driver->gpus[i].uuid, GPU_UUID_SIZE);
    if (device && !ret_uuid[0] &&
        NVML_ASK(driver, "", nvmlDeviceGetUUID, device, ret_uuid, GPU_UUID_SIZE) != NVML_SUCCESS)
        ret_uuid[0] = '\0';
}

static int nvml_wait_event(struct gpu_driver *driver, unsigned timeout_ms,
                           struct gpu_event *ret_event, struct error *err)
{
    /* The first version of the call leaves the instances alone. */
    nvmlEventData_t data = {.gpuInstanceId = UINT32_MAX, .computeInstanceId = UINT32_MAX};
    struct gpu_event event;
    int r;

    if (!driver->events) {
        error_set(err, -ENOTSUP, "no device is watched");
        return GPU_UNSUPPORTED;
    }
    r = nvml_outcome(NVML_ASK_FOR(driver, timeout_ms, "", nvmlEventSetWait_v2, driver->events,
                                  &data, timeout_ms),
                     err, "nvmlEventSetWait");
    if (r)
        return r;
    if (data.eventType & nvmlEventMigConfigChange) {
        error_set(err, -EAGAIN, "how a GPU is partitioned has changed");
        name_device(driver, data.device, ret_event->uuid);
        return GPU_RECONFIGURED;
    }
    if (!(data.eventType & WATCHED_EVENTS)) {
        error_set(err, -ETIMEDOUT, "only events that nobody asked for");
        return GPU_TIMEOUT;
    }
    event.xid =
        data.eventType & nvmlEventTypeXidCriticalError ? data.eventData : XID_DOUBLE_BIT_ECC;
    event.gpu_instance = data.gpuInstanceId;
    event.compute_instance = data.computeInstanceId;
    name_device(driver, data.device, event.uuid);
    *ret_event = event;
    return 0;
}

const struct gpu_backend gpu_nvml = {
    .name = "nvml",
    .open = nvml_open,
    .close = nvml_close,
    .avoid = nvml_avoid,
    .inventory = nvml_inventory,
    .partitions = nvml_partitions,
    .reports_changes = nvml_reports_changes,
    .change = nvml_change,
    .processes = nvml_processes,
    .probe = nvml_probe,
    .watch = nvml_watch,
    .wait_event = nvml_wait_event,
};
