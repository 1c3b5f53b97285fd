// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Internals of the NVML backend: the loaded library, an open driver, and its files.
 *
 *     nvml-library.c    the table of symbols; loading; nvmlReturn_t -> our outcomes, in one place
 *     nvml-inventory.c  the GPUs
 *     nvml-topology.c   the links between them
 *     nvml-mig.c        how they are partitioned
 *     nvml-change.c     changes of that, and the processes that are in their way
 *     nvml.c            the backend: open, probe, watch, wait
 *
 * Only these files include this header, and the test that replaces single calls
 * (tests/conformance/answers). A symbol that the library lacks is NULL here
 * and the feature it serves is unsupported; only the required ones stop the library from being
 * loaded: opening a session, a GPU's handle, and its UUID, without which no GPU can be used.
 */

#include "gpu/gpu.h"
#include "gpu/guard.h"
#include "gpu/nvml-abi.h"
#include "gpu/rm-abi.h"

/* A function type for each call: nvmlInit_v2_fn. */
#define NVML_CALL(name, arguments) typedef nvmlReturn_t name##_fn arguments;
#include "gpu/nvml-calls.def"

/* X(member and newest name, older name with the same signature or NULL, required) */
#define NVML_SYMBOLS(X)                                                                            \
    X(nvmlInit_v2, "nvmlInit", true)                                                               \
    X(nvmlShutdown, NULL, false)                                                                   \
    X(nvmlSystemGetDriverVersion, NULL, false)                                                     \
    X(nvmlSystemGetCudaDriverVersion_v2, NULL, false)                                              \
    X(nvmlSystemGetCudaDriverVersion, NULL, false)                                                 \
    X(nvmlDeviceGetCount_v2, "nvmlDeviceGetCount", false)                                          \
    X(nvmlDeviceGetHandleByIndex_v2, "nvmlDeviceGetHandleByIndex", true)                           \
    X(nvmlDeviceGetHandleByUUID, NULL, false)                                                      \
    X(nvmlDeviceGetUUID, NULL, true)                                                               \
    X(nvmlDeviceGetName, NULL, false)                                                              \
    X(nvmlDeviceGetMinorNumber, NULL, false)                                                       \
    X(nvmlDeviceGetPciInfo_v3, NULL, false)                                                        \
    X(nvmlDeviceGetPciInfoExt, NULL, false)                                                        \
    X(nvmlDeviceGetMemoryInfo, NULL, false)                                                        \
    X(nvmlDeviceGetMemoryInfo_v2, NULL, false)                                                     \
    X(nvmlDeviceGetCudaComputeCapability, NULL, false)                                             \
    X(nvmlDeviceGetMigMode, NULL, false)                                                           \
    X(nvmlDeviceGetGpuInstanceProfileInfo, NULL, false)                                            \
    X(nvmlDeviceGetGpuInstanceProfileInfoV, NULL, false)                                           \
    X(nvmlDeviceGetGpuInstancePossiblePlacements_v2, NULL, false)                                  \
    X(nvmlDeviceGetMaxMigDeviceCount, NULL, false)                                                 \
    X(nvmlDeviceGetMigDeviceHandleByIndex, NULL, false)                                            \
    X(nvmlDeviceGetGpuInstanceId, NULL, false)                                                     \
    X(nvmlDeviceGetComputeInstanceId, NULL, false)                                                 \
    X(nvmlDeviceGetAttributes_v2, NULL, false)                                                     \
    X(nvmlDeviceGetGpuInstances, NULL, false)                                                      \
    X(nvmlDeviceGetGpuInstanceById, NULL, false)                                                   \
    X(nvmlGpuInstanceGetInfo, NULL, false)                                                         \
    X(nvmlGpuInstanceGetComputeInstanceById, NULL, false)                                          \
    X(nvmlComputeInstanceGetInfo_v2, NULL, false)                                                  \
    X(nvmlDeviceSetMigMode, NULL, false)                                                           \
    X(nvmlDeviceCreateGpuInstance, NULL, false)                                                    \
    X(nvmlDeviceCreateGpuInstanceWithPlacement, NULL, false)                                       \
    X(nvmlGpuInstanceGetComputeInstanceProfileInfo, NULL, false)                                   \
    X(nvmlGpuInstanceCreateComputeInstance, NULL, false)                                           \
    X(nvmlGpuInstanceCreateComputeInstanceWithPlacement, NULL, false)                              \
    X(nvmlComputeInstanceDestroy, NULL, false)                                                     \
    X(nvmlGpuInstanceDestroy, NULL, false)                                                         \
    X(nvmlDeviceGetComputeRunningProcesses_v3, "nvmlDeviceGetComputeRunningProcesses_v2", false)   \
    X(nvmlDeviceGetGraphicsRunningProcesses_v3, "nvmlDeviceGetGraphicsRunningProcesses_v2", false) \
    X(nvmlDeviceGetMPSComputeRunningProcesses_v3, "nvmlDeviceGetMPSComputeRunningProcesses_v2",    \
      false)                                                                                       \
    X(nvmlSystemGetProcessName, NULL, false)                                                       \
    X(nvmlDeviceGetVirtualizationMode, NULL, false)                                                \
    X(nvmlDeviceGetGpuFabricInfo, NULL, false)                                                     \
    X(nvmlDeviceGetGpuFabricInfoV, NULL, false)                                                    \
    X(nvmlDeviceGetMemoryAffinity, NULL, false)                                                    \
    X(nvmlDeviceGetNumaNodeId, NULL, false)                                                        \
    X(nvmlDeviceGetTopologyCommonAncestor, NULL, false)                                            \
    X(nvmlDeviceGetNvLinkState, NULL, false)                                                       \
    X(nvmlDeviceGetNvLinkRemoteDeviceType, NULL, false)                                            \
    X(nvmlDeviceGetNvLinkRemotePciInfo_v2, NULL, false)                                            \
    X(nvmlDeviceGetTotalEnergyConsumption, NULL, false)                                            \
    X(nvmlDeviceGetFieldValues, NULL, false)                                                       \
    X(nvmlDeviceGetSupportedEventTypes, NULL, false)                                               \
    X(nvmlEventSetCreate, NULL, false)                                                             \
    X(nvmlEventSetFree, NULL, false)                                                               \
    X(nvmlDeviceRegisterEvents, NULL, false)                                                       \
    X(nvmlEventSetWait_v2, "nvmlEventSetWait", false)

struct nvml_library {
    void *handle;
    const struct rm_kernel *kernel; /* that goes with it; never NULL */
#define NVML_MEMBER(symbol, older, required) symbol##_fn *symbol;
    NVML_SYMBOLS(NVML_MEMBER)
#undef NVML_MEMBER
};

/* A GPU of this session, by its position in the inventory. */
struct nvml_gpu {
    nvmlDevice_t device; /* NULL: its handle was not available */
    char uuid[GPU_UUID_SIZE];
    bool reports_changes; /* of how it is partitioned, as events */
    /* Of processes that NVML does not list. NULL: not asked yet, or in vain, then not before: */
    struct rmclients *clients;
    uint64_t clients_ms;
    char unseen[256]; /* why in vain */
};

enum { NVML_GPUS_MAX = 256 };

struct gpu_driver {
    struct nvml_library library;
    nvmlEventSet_t events; /* NULL before the first watch */
    struct nvml_gpu *gpus;
    size_t n_gpus;
    uint64_t avoided[NVML_GPUS_MAX / 64]; /* bits by index */
};

/*
 * One call under this thread's guard. A statement expression, because the guard and a refused call
 * need the symbol's own name; the result is nvmlReturn_t.
 */
#define NVML_ASK_FOR(driver, more_ms, who, symbol, ...)       \
    ({                                                        \
        nvmlReturn_t _status = NVML_ERROR_FUNCTION_NOT_FOUND; \
        if ((driver)->library.symbol) {                       \
            guard_enter(#symbol, (who), (more_ms));           \
            _status = (driver)->library.symbol(__VA_ARGS__);  \
            guard_leave();                                    \
        }                                                     \
        _status;                                              \
    })

#define NVML_ASK(driver, who, symbol, ...) NVML_ASK_FOR(driver, 0, who, symbol, ##__VA_ARGS__)

/* 0, -ENOENT (no such library, says why) or -ELIBBAD (not NVML: names what it lacks). */
int nvml_library_load(struct nvml_library *library, const char *path, struct error *err);
void nvml_library_unload(struct nvml_library *library);

/* 0, an enum gpu_outcome, or a negative errno; err is set for all but 0. */
int nvml_outcome(nvmlReturn_t status, struct error *err, const char *call);

/* Why a status leaves a fact unknown. */
enum fact_gap nvml_gap(nvmlReturn_t status);

/* Notes the reason of one query more for a fact that is still unknown: the most telling stays. */
void nvml_note_gap(uint8_t *gap, enum fact_gap reason);

/* Fills gpu and its handle; an unusable GPU gets gpu->unusable. */
void nvml_read_gpu(struct gpu_driver *driver, unsigned index, struct nvml_gpu *handle,
                   struct gpu *gpu);

/* A minor number that two GPUs have is unknown for both: a container would get the other's node. */
void nvml_drop_double_minors(struct inventory *inventory);

/* The current mode again, with FACT_MIG; a lost GPU gets gpu->unusable. */
void nvml_read_mig_mode(struct gpu_driver *driver, nvmlDevice_t device, struct gpu *gpu);

/*
 * inventory->mig_devices, boards, and the layout of each GPU. 0 or -ENOMEM.
 */
int nvml_read_partitions(struct gpu_driver *driver, struct inventory *inventory);

/*
 * The same again, with the modes, in place of what is there; of the GPU of that UUID alone, or
 * (NULL) of all. A GPU that is lost meanwhile gets gpu->unusable. 0 or -ENOMEM.
 */
int nvml_reread_partitions(struct gpu_driver *driver, struct inventory *inventory,
                           const char *uuid);

/* The backend's change. */
void nvml_change(struct gpu_driver *driver, const struct gpu_change *change,
                 struct gpu_changed *ret_changed);

/* The backend's processes; nvml_list_processes: those of NVML's lists, of a handle, each call with
 * so much more time. A list of processes that draw or use MPS may be missing. */
int nvml_processes(struct gpu_driver *driver, const char *uuid, struct gpu_processes *ret_processes,
                   struct error *err);
int nvml_list_processes(struct gpu_driver *driver, nvmlDevice_t device, const char *uuid,
                        unsigned more_ms, struct gpu_processes *ret_processes, struct error *err);

/* Ends the session with the kernel module's clients, if there is one. */
void nvml_forget_clients(struct nvml_gpu *gpu);

/* The handle of a GPU; also before the inventory. 0, GPU_LOST or -errno. */
int nvml_find_device(struct gpu_driver *driver, const char *uuid, nvmlDevice_t *ret_device,
                     struct error *err);

/* inventory->links, and n_nvswitch_links of each GPU. 0 or -ENOMEM. */
int nvml_read_links(struct gpu_driver *driver, struct inventory *inventory);

/* "00000000:00:1B.0" -> "0000:00:1b.0"; "" if invalid. size >= PCI_ADDRESS_SIZE. */
void nvml_pci_address(const char *bus_id, char *ret_address, size_t size);
