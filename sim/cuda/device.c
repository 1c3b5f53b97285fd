// SPDX-License-Identifier: Apache-2.0

/* What a device is. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "cuda/cuda.h"

CUresult sim_cuDeviceGetCount(int *count)
{
    int n = 0;

    if (!count)
        return CUDA_ERROR_INVALID_VALUE;
    while (cuda_device(n))
        n++;
    *count = n;
    return CUDA_SUCCESS;
}

CUresult sim_cuDeviceGet(CUdevice *device, int ordinal)
{
    if (!device)
        return CUDA_ERROR_INVALID_VALUE;
    if (!cuda_device(ordinal))
        return CUDA_ERROR_INVALID_DEVICE;
    *device = ordinal;
    return CUDA_SUCCESS;
}

CUresult sim_cuDeviceGetName(char *name, int length, CUdevice ordinal)
{
    const struct cuda_device *device = cuda_device(ordinal);

    if (!device)
        return CUDA_ERROR_INVALID_DEVICE;
    if (!name || length <= 0)
        return CUDA_ERROR_INVALID_VALUE;
    snprintf(name, (size_t)length, "%s", device->gpu->model.name);
    return CUDA_SUCCESS;
}

/* The sixteen bytes that "GPU-01234567-89ab-..." writes out. */
CUresult sim_cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice ordinal)
{
    const struct cuda_device *device = cuda_device(ordinal);
    const char *text;
    size_t n = 0;

    if (!device)
        return CUDA_ERROR_INVALID_DEVICE;
    if (!uuid)
        return CUDA_ERROR_INVALID_VALUE;
    text = device->gpu->uuid;
    if (strncmp(text, "GPU-", 4) == 0)
        text += 4;
    memset(uuid, 0, sizeof(*uuid));
    for (; text[0] && text[1] && n < sizeof(uuid->bytes); text += text[0] == '-' ? 1 : 2) {
        char digits[3] = {text[0], text[1], '\0'};

        if (text[0] != '-')
            uuid->bytes[n++] = (char)strtoul(digits, NULL, 16);
    }
    return CUDA_SUCCESS;
}

CUresult sim_cuDeviceTotalMem_v2(size_t *bytes, CUdevice ordinal)
{
    const struct cuda_device *device = cuda_device(ordinal);

    if (!device)
        return CUDA_ERROR_INVALID_DEVICE;
    if (!bytes)
        return CUDA_ERROR_INVALID_VALUE;
    *bytes = cuda_total_bytes(device);
    return CUDA_SUCCESS;
}

CUresult sim_cuDeviceComputeCapability(int *major, int *minor, CUdevice ordinal)
{
    const struct cuda_device *device = cuda_device(ordinal);

    if (!device)
        return CUDA_ERROR_INVALID_DEVICE;
    if (!major || !minor)
        return CUDA_ERROR_INVALID_VALUE;
    *major = (int)device->gpu->model.compute_major;
    *minor = (int)device->gpu->model.compute_minor;
    return CUDA_SUCCESS;
}

CUresult sim_cuDeviceGetPCIBusId(char *text, int length, CUdevice ordinal)
{
    const struct cuda_device *device = cuda_device(ordinal);
    const struct pci_address *pci;

    if (!device)
        return CUDA_ERROR_INVALID_DEVICE;
    pci = &device->gpu->pci;
    if (!text ||
        snprintf(text, (size_t)(length > 0 ? length : 0), "%04X:%02X:%02X.0", (unsigned)pci->domain,
                 (unsigned)pci->bus, (unsigned)pci->device) >= length)
        return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
}

CUresult sim_cuDeviceGetByPCIBusId(CUdevice *ordinal, const char *text)
{
    unsigned domain, bus, slot;

    if (!ordinal || !text || sscanf(text, "%x:%x:%x", &domain, &bus, &slot) != 3)
        return CUDA_ERROR_INVALID_VALUE;
    for (int i = 0; cuda_device(i); i++) {
        const struct pci_address *pci = &cuda_device(i)->gpu->pci;

        if (pci->domain == domain && pci->bus == bus && pci->device == slot) {
            *ordinal = i;
            return CUDA_SUCCESS;
        }
    }
    return CUDA_ERROR_INVALID_DEVICE;
}

CUresult sim_cuDeviceCanAccessPeer(int *can, CUdevice ordinal, CUdevice peer)
{
    if (!cuda_device(ordinal) || !cuda_device(peer))
        return CUDA_ERROR_INVALID_DEVICE;
    if (!can)
        return CUDA_ERROR_INVALID_VALUE;
    *can = 0;
    return CUDA_SUCCESS;
}

/* The same for every GPU from Volta on, or 0 where a model says more. */
static const struct {
    CUdevice_attribute attribute;
    int value;
} constants[] = {
    {CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, 1024},
    {CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X, 1024},
    {CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y, 1024},
    {CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z, 64},
    {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X, 2147483647},
    {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y, 65535},
    {CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z, 65535},
    {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK, 49152},
    {CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY, 65536},
    {CU_DEVICE_ATTRIBUTE_WARP_SIZE, 32},
    {CU_DEVICE_ATTRIBUTE_MAX_PITCH, 2147483647},
    {CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK, 65536},
    {CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT, 512},
    {CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY, 1},
    {CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS, 1},
    {CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT, 3},
    {CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING, 1},
    {CU_DEVICE_ATTRIBUTE_STREAM_PRIORITIES_SUPPORTED, 1},
    {CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY, 1},
    {CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS, 1},
    {CU_DEVICE_ATTRIBUTE_COMPUTE_PREEMPTION_SUPPORTED, 1},
    {CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH, 1},
    {CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, 1},
    {CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED, 1},
    {CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED, 1},
    {CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS, 1},
    {CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_WAIT_VALUE_NOR, 1},
};

static int attribute_of(const struct machine_gpu *gpu, CUdevice_attribute attribute)
{
    const struct gpu_model *model = &gpu->model;

    switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
        return (int)model->compute_major;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
        return (int)model->compute_minor;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
        return (int)model->multiprocessors;
    case CU_DEVICE_ATTRIBUTE_CLOCK_RATE:
        return (int)model->graphics_mhz * 1000;
    case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE:
        return (int)model->memory_mhz * 1000;
    case CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH:
        return (int)model->memory_bus_bits;
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR:
        return model->compute_major == 7 && model->compute_minor == 5   ? 1024
               : model->compute_major == 8 && model->compute_minor != 0 ? 1536
                                                                        : 2048;
    case CU_DEVICE_ATTRIBUTE_ECC_ENABLED:
        return model->ecc;
    case CU_DEVICE_ATTRIBUTE_PCI_BUS_ID:
        return (int)gpu->pci.bus;
    case CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID:
        return (int)gpu->pci.device;
    case CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID:
        return (int)gpu->pci.domain;
    default:
        break;
    }
    for (size_t i = 0; i < ARRAY_SIZE(constants); i++)
        if (constants[i].attribute == attribute)
            return constants[i].value;
    return 0;
}

CUresult sim_cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice ordinal)
{
    const struct cuda_device *device = cuda_device(ordinal);

    if (!device)
        return CUDA_ERROR_INVALID_DEVICE;
    if (!value || attribute <= 0)
        return CUDA_ERROR_INVALID_VALUE;
    *value = attribute_of(device->gpu, attribute);
    return CUDA_SUCCESS;
}
