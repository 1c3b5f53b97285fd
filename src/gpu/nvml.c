// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "gpu/nvml.h"

/* Events that mark a device. Reporting the ECC error twice, also as XID 48, does no harm. */
#define WATCHED_EVENTS ((unsigned)nvmlEventTypeXidCriticalError | nvmlEventTypeDoubleBitEccError)

enum { XID_DOUBLE_BIT_ECC = 48 };

static void nvml_close(struct gpu_driver *driver)
{
    if (!driver)
        return;
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

/* The second version asks libcuda.so.1, which a container with NVIDIA_DRIVER_CAPABILITIES=utility
 * does not have: LIBRARY_NOT_FOUND (seen on an H100, driver 580.159). The first then tells what the
 * driver was built for. */
static int cuda_version(struct gpu_driver *driver)
{
    int version;

    if (NVML_ASK(driver, "", nvmlSystemGetCudaDriverVersion_v2, &version) == NVML_SUCCESS)
        return version;
    if (NVML_ASK(driver, "", nvmlSystemGetCudaDriverVersion, &version) == NVML_SUCCESS)
        return version;
    return 0;
}

static void read_versions(struct gpu_driver *driver, struct inventory *inventory)
{
    if (NVML_ASK(driver, "", nvmlSystemGetDriverVersion, inventory->driver_version,
                 (unsigned)sizeof(inventory->driver_version)) != NVML_SUCCESS)
        inventory->driver_version[0] = '\0';
    inventory->driver_version[sizeof(inventory->driver_version) - 1] = '\0';
    inventory->cuda_version = cuda_version(driver);
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
    if (driver->avoided[index / 64] >> index % 64 & 1) {
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

    r = nvml_outcome(NVML_ASK(driver, "", nvmlDeviceGetCount_v2, &n), err, "nvmlDeviceGetCount");
    if (r)
        return r < 0 ? r : -EIO;
    if (n > NVML_GPUS_MAX)
        return error_set(err, -E2BIG, "the driver counts %u GPUs, more than %d", n, NVML_GPUS_MAX);
    read_versions(driver, &inventory);
    r = make_room(driver, &inventory, n);
    if (r < 0)
        return r;
    for (unsigned i = 0; i < n; i++)
        read_gpu(driver, &inventory.gpus[i], i);
    r = nvml_read_links(driver, &inventory);
    if (r < 0)
        return r;
    *ret_inventory = inventory;
    inventory = (struct inventory)INVENTORY_INIT;
    return 0;
}

static int find_device(struct gpu_driver *driver, const char *uuid, nvmlDevice_t *ret_device,
                       struct error *err)
{
    nvmlDevice_t device = NULL;
    int r;

    for (size_t i = 0; i < driver->n_gpus; i++)
        if (driver->gpus[i].device && strcasecmp(driver->gpus[i].uuid, uuid) == 0) {
            *ret_device = driver->gpus[i].device;
            return 0;
        }
    r = nvml_outcome(NVML_ASK(driver, uuid, nvmlDeviceGetHandleByUUID, uuid, &device), err,
                     "nvmlDeviceGetHandleByUUID");
    if (r == 0)
        *ret_device = device;
    return r == GPU_UNSUPPORTED || r == GPU_TIMEOUT ? -ENXIO : r;
}

/* Something that every driver and GPU supports, so that a lost or hanging one is detected. */
static int probe_memory(struct gpu_driver *driver, nvmlDevice_t device, const char *uuid,
                        struct error *err)
{
    nvmlMemory_v2_t memory = {.version = NVML_STRUCT_VERSION_OF(nvmlMemory_v2_t, 2)};
    nvmlMemory_t old = {.used = 0};
    int r;

    r = nvml_outcome(NVML_ASK(driver, uuid, nvmlDeviceGetMemoryInfo_v2, device, &memory), err,
                     "nvmlDeviceGetMemoryInfo");
    if (r != GPU_UNSUPPORTED)
        return r;
    r = nvml_outcome(NVML_ASK(driver, uuid, nvmlDeviceGetMemoryInfo, device, &old), err,
                     "nvmlDeviceGetMemoryInfo");
    return r == GPU_UNSUPPORTED ? 0 : r;
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
        return r == GPU_LOST ? r : 0;
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

/* A driver or GPU without this counter is fine. */
static int probe_energy(struct gpu_driver *driver, nvmlDevice_t device, const char *uuid,
                        struct gpu_probe *probe, struct error *err)
{
    unsigned long long energy = 0;
    int r =
        nvml_outcome(NVML_ASK(driver, uuid, nvmlDeviceGetTotalEnergyConsumption, device, &energy),
                     err, "nvmlDeviceGetTotalEnergyConsumption");

    if (r == 0)
        probe->energy_millijoule = energy;
    return r == GPU_LOST ? r : 0;
}

static int nvml_probe(struct gpu_driver *driver, const char *uuid, struct gpu_probe *ret_probe,
                      struct error *err)
{
    struct gpu_probe probe = GPU_PROBE_INIT;
    nvmlDevice_t device;
    int r;

    r = find_device(driver, uuid, &device, err);
    if (r == 0)
        r = probe_memory(driver, device, uuid, err);
    if (r == 0)
        r = probe_recovery(driver, device, uuid, &probe, err);
    if (r == 0)
        r = probe_energy(driver, device, uuid, &probe, err);
    if (r == 0)
        *ret_probe = probe;
    return r == 0 || r == GPU_LOST || r < 0 ? r : -EIO;
}

static int nvml_watch(struct gpu_driver *driver, const char *uuid, struct error *err)
{
    unsigned long long supported = 0;
    nvmlDevice_t device;
    int r;

    r = find_device(driver, uuid, &device, err);
    if (r)
        return r;
    r = nvml_outcome(NVML_ASK(driver, uuid, nvmlDeviceGetSupportedEventTypes, device, &supported),
                     err, "nvmlDeviceGetSupportedEventTypes");
    if (r)
        return r;
    if (!(supported & WATCHED_EVENTS)) {
        error_set(err, -ENOTSUP, "the driver reports no XID events for this GPU");
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
    return nvml_outcome(NVML_ASK(driver, uuid, nvmlDeviceRegisterEvents, device,
                                 supported & WATCHED_EVENTS, driver->events),
                        err, "nvmlDeviceRegisterEvents");
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
    event.xid =
        data.eventType == nvmlEventTypeXidCriticalError ? data.eventData : XID_DOUBLE_BIT_ECC;
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
    .probe = nvml_probe,
    .watch = nvml_watch,
    .wait_event = nvml_wait_event,
};
