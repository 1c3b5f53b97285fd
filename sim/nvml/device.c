// SPDX-License-Identifier: Apache-2.0

/* Device properties and settings: mostly one model fact each, so mostly one table. */

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "nvml/abi.h"
#include "nvml/library.h"

/* Entry points that return one value of a device `v`: name, type, when supported, the value. */
#define VALUES(GIVE)                                                                              \
    GIVE(nvmlDeviceGetBrand, nvmlBrandType_t, true, abi_brand(v.model))                           \
    GIVE(nvmlDeviceGetMinorNumber, unsigned, true, v.gpu->minor)                                  \
    GIVE(nvmlDeviceGetModuleId, unsigned, v.model->nvlink_count > 0, v.index + 1)                 \
    GIVE(nvmlDeviceGetBoardId, unsigned, true, v.gpu->pci.bus << 8 | v.gpu->pci.device)           \
    GIVE(nvmlDeviceGetMultiGpuBoard, unsigned, true, 0)                                           \
    GIVE(nvmlDeviceGetArchitecture, nvmlDeviceArchitecture_t, true, abi_architecture(v.model))    \
    GIVE(nvmlDeviceGetNumGpuCores, unsigned, true, v.model->cores)                                \
    GIVE(nvmlDeviceGetMemoryBusWidth, unsigned, true, v.model->memory_bus_bits)                   \
    GIVE(nvmlDeviceGetBusType, nvmlBusType_t, true, NVML_BUS_TYPE_PCIE)                           \
    GIVE(nvmlDeviceGetPowerSource, nvmlPowerSource_t, true, NVML_POWER_SOURCE_AC)                 \
    GIVE(nvmlDeviceGetVirtualizationMode, nvmlGpuVirtualizationMode_t, true, virtualization(&v))  \
    GIVE(nvmlDeviceGetMaxPcieLinkGeneration, unsigned, true, v.model->pcie_generation)            \
    GIVE(nvmlDeviceGetGpuMaxPcieLinkGeneration, unsigned, true, v.model->pcie_generation)         \
    GIVE(nvmlDeviceGetCurrPcieLinkGeneration, unsigned, true, v.model->pcie_generation)           \
    GIVE(nvmlDeviceGetMaxPcieLinkWidth, unsigned, true, v.model->pcie_width)                      \
    GIVE(nvmlDeviceGetCurrPcieLinkWidth, unsigned, true, v.model->pcie_width)                     \
    GIVE(nvmlDeviceGetPcieReplayCounter, unsigned, true, 0)                                       \
    GIVE(nvmlDeviceGetPcieLinkMaxSpeed, unsigned, true, v.model->pcie_generation)                 \
    GIVE(nvmlDeviceGetPcieSpeed, unsigned, true, pcie_speed(&v))                                  \
    GIVE(nvmlDeviceGetDisplayMode, nvmlEnableState_t, true, NVML_FEATURE_ENABLED)                 \
    GIVE(nvmlDeviceGetDisplayActive, nvmlEnableState_t, true, NVML_FEATURE_DISABLED)              \
    GIVE(nvmlDeviceGetPersistenceMode, nvmlEnableState_t, true, atomic_load(&v.now->persistence)) \
    GIVE(nvmlDeviceGetComputeMode, nvmlComputeMode_t, true, atomic_load(&v.now->compute_mode))    \
    GIVE(nvmlDeviceGetPowerManagementMode, nvmlEnableState_t, true, NVML_FEATURE_ENABLED)         \
    GIVE(nvmlDeviceGetAccountingMode, nvmlEnableState_t, true, NVML_FEATURE_DISABLED)             \
    GIVE(nvmlDeviceGetAccountingBufferSize, unsigned, true, 4000)                                 \
    GIVE(nvmlDeviceGetIrqNum, unsigned, true, 40 + v.index)                                       \
    GIVE(nvmlDeviceGetDefaultEccMode, nvmlEnableState_t, v.model->ecc, NVML_FEATURE_ENABLED)      \
    GIVE(nvmlDeviceGetMaxMigDeviceCount, unsigned, true, migdevice_count_max(v.state, v.index))   \
    GIVE(nvmlDeviceGetNumFans, unsigned, true, v.model->fans)

static nvmlGpuVirtualizationMode_t virtualization(const struct view *v)
{
    char name[MACHINE_NAME];

    memcpy(name, v->state->machine.name, sizeof(name));
    return str_ends_with(name, ".metal") ? NVML_GPU_VIRTUALIZATION_MODE_NONE
                                         : NVML_GPU_VIRTUALIZATION_MODE_PASSTHROUGH;
}

/* Of one lane, in megatransfers per second. */
static unsigned pcie_speed(const struct view *v)
{
    static const unsigned by_generation[] = {0, 2500, 5000, 8000, 16000, 32000, 64000};

    return by_generation[v->model->pcie_generation <= 6 ? v->model->pcie_generation : 0];
}

#define GIVE_VALUE(name, type, supported, expression)                \
    nvmlReturn_t name(nvmlDevice_t device, type *value)              \
    {                                                                \
        struct view v;                                               \
        nvmlReturn_t r = library_enter_device(__func__, device, &v); \
                                                                     \
        if (r)                                                       \
            return r;                                                \
        if (!value)                                                  \
            return NVML_ERROR_INVALID_ARGUMENT;                      \
        if (!(supported))                                            \
            return NVML_ERROR_NOT_SUPPORTED;                         \
        *value = (type)(expression);                                 \
        return NVML_SUCCESS;                                         \
    }
VALUES(GIVE_VALUE)

/* Entry points that return a text of a device; an empty text is not supported. */
#define TEXTS(GIVE)                                   \
    GIVE(nvmlDeviceGetSerial, v.gpu->serial)          \
    GIVE(nvmlDeviceGetBoardPartNumber, v.model->part) \
    GIVE(nvmlDeviceGetVbiosVersion, v.model->vbios)

#define GIVE_TEXT(name, text)                                            \
    nvmlReturn_t name(nvmlDevice_t device, char *value, unsigned length) \
    {                                                                    \
        struct view v;                                                   \
        nvmlReturn_t r = library_enter_device(__func__, device, &v);     \
                                                                         \
        if (r)                                                           \
            return r;                                                    \
        if (!*(text))                                                    \
            return NVML_ERROR_NOT_SUPPORTED;                             \
        return library_give_text(value, length, text);                   \
    }
TEXTS(GIVE_TEXT)

nvmlReturn_t nvmlDeviceGetGspFirmwareVersion(nvmlDevice_t device, char *version)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);

    if (r)
        return r;
    if (!v.model->gsp)
        return NVML_ERROR_NOT_SUPPORTED;
    return library_give_text(version, 64, v.state->machine.driver);
}

nvmlReturn_t nvmlDeviceGetGspFirmwareMode(nvmlDevice_t device, unsigned int *isEnabled,
                                          unsigned int *defaultMode)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);

    if (r)
        return r;
    if (!isEnabled || !defaultMode)
        return NVML_ERROR_INVALID_ARGUMENT;
    *isEnabled = *defaultMode = v.model->gsp;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t device, int *major, int *minor)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);

    if (r)
        return r;
    if (!major || !minor)
        return NVML_ERROR_INVALID_ARGUMENT;
    *major = (int)v.model->compute_major;
    *minor = (int)v.model->compute_minor;
    return NVML_SUCCESS;
}

static nvmlReturn_t give_pci(const char *call, nvmlDevice_t device, nvmlPciInfo_t *pci)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(call, device, &v);
    const struct pci_address *at;

    if (r)
        return r;
    if (!pci)
        return NVML_ERROR_INVALID_ARGUMENT;
    at = &v.gpu->pci;
    memset(pci, 0, sizeof(*pci));
    snprintf(pci->busIdLegacy, sizeof(pci->busIdLegacy), "%04X:%02X:%02X.0", at->domain & 0xffff,
             at->bus & 0xff, at->device & 0xff);
    snprintf(pci->busId, sizeof(pci->busId), "%08X:%02X:%02X.0", at->domain, at->bus, at->device);
    pci->domain = at->domain;
    pci->bus = at->bus;
    pci->device = at->device;
    pci->pciDeviceId = v.model->pci_device;
    pci->pciSubSystemId = v.model->pci_subsystem;
    return NVML_SUCCESS;
}

/* The first version fills the buffers and the second the short one; the third is the struct's. */
nvmlReturn_t nvmlDeviceGetPciInfo(nvmlDevice_t device, nvmlPciInfo_t *pci)
{
    return give_pci(__func__, device, pci);
}

nvmlReturn_t nvmlDeviceGetPciInfo_v2(nvmlDevice_t device, nvmlPciInfo_t *pci)
{
    return give_pci(__func__, device, pci);
}

nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t *pci)
{
    return give_pci(__func__, device, pci);
}

nvmlReturn_t nvmlDeviceGetPciInfoExt(nvmlDevice_t device, nvmlPciInfoExt_t *pci)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);

    if (r)
        return r;
    if (!pci)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (pci->version != NVML_STRUCT_VERSION_OF(nvmlPciInfoExt_v1_t, 1))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    pci->domain = v.gpu->pci.domain;
    pci->bus = v.gpu->pci.bus;
    pci->device = v.gpu->pci.device;
    pci->pciDeviceId = v.model->pci_device;
    pci->pciSubSystemId = v.model->pci_subsystem;
    pci->baseClass = v.model->pci_class >> 8;
    pci->subClass = v.model->pci_class & 0xff;
    snprintf(pci->busId, sizeof(pci->busId), "%08X:%02X:%02X.0", pci->domain, pci->bus,
             pci->device);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetPcieThroughput(nvmlDevice_t device, nvmlPcieUtilCounter_t counter,
                                         unsigned int *value)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);

    if (r)
        return r;
    if (!value || (counter != NVML_PCIE_UTIL_TX_BYTES && counter != NVML_PCIE_UTIL_RX_BYTES))
        return NVML_ERROR_INVALID_ARGUMENT;
    *value = load_pcie_kbps(&v);
    return NVML_SUCCESS;
}

/* Settings are stored; only root may change them, as with the real driver. */
static nvmlReturn_t set(const char *call, nvmlDevice_t device, size_t offset, unsigned value,
                        unsigned highest)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(call, device, &v);

    if (r)
        return r;
    if (value > highest)
        return NVML_ERROR_UNKNOWN; /* as driver 580.159.04 does */
    atomic_store((atomic_uint *)(void *)((char *)v.now + offset), value);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceSetPersistenceMode(nvmlDevice_t device, nvmlEnableState_t mode)
{
    return set(__func__, device, offsetof(struct state_gpu, persistence), mode, 1);
}

nvmlReturn_t nvmlDeviceSetComputeMode(nvmlDevice_t device, nvmlComputeMode_t mode)
{
    return set(__func__, device, offsetof(struct state_gpu, compute_mode), mode,
               NVML_COMPUTEMODE_EXCLUSIVE_PROCESS);
}

nvmlReturn_t nvmlDeviceGetEccMode(nvmlDevice_t device, nvmlEnableState_t *current,
                                  nvmlEnableState_t *pending)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);

    if (r)
        return r;
    if (!current || !pending)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (!v.model->ecc)
        return NVML_ERROR_NOT_SUPPORTED;
    *current = *pending = NVML_FEATURE_ENABLED;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetAPIRestriction(nvmlDevice_t device, nvmlRestrictedAPI_t apiType,
                                         nvmlEnableState_t *isRestricted)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);

    if (r)
        return r;
    if (!isRestricted || apiType > NVML_RESTRICTED_API_SET_AUTO_BOOSTED_CLOCKS)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (apiType != NVML_RESTRICTED_API_SET_AUTO_BOOSTED_CLOCKS)
        return NVML_ERROR_NOT_SUPPORTED;
    *isRestricted = NVML_FEATURE_DISABLED;
    return NVML_SUCCESS;
}

/* An identifier that no other device has, burnt in; here, made from the UUID. */
nvmlReturn_t nvmlDeviceGetPdi(nvmlDevice_t device, nvmlPdi_t *pdi)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);
    unsigned long long value = 0;

    if (r)
        return r;
    if (!pdi)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (pdi->version != NVML_STRUCT_VERSION_OF(nvmlPdi_v1_t, 1))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    for (const char *c = v.gpu->uuid; *c; c++)
        value = value * 31 + (unsigned char)*c;
    pdi->value = value;
    return NVML_SUCCESS;
}

/* Only the module is known: the rest is of racks. Any version is taken (an H200 under 580). */
nvmlReturn_t nvmlDeviceGetPlatformInfo(nvmlDevice_t device, nvmlPlatformInfo_t *platformInfo)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);
    unsigned version;

    if (r)
        return r;
    if (!platformInfo)
        return NVML_ERROR_INVALID_ARGUMENT;
    version = platformInfo->version;
    *platformInfo =
        (nvmlPlatformInfo_t){.version = version, .moduleId = (unsigned char)(v.index + 1)};
    return NVML_SUCCESS;
}
