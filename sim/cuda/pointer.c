// SPDX-License-Identifier: Apache-2.0

/* What a pointer is. */

#include "cuda/address.h"

static bool is_on_host(const struct range *range)
{
    return range->kind == RANGE_HOST || range->kind == RANGE_REGISTERED;
}

/* CUDA_ERROR_INVALID_VALUE: not known to CUDA, or no such attribute. */
static CUresult give(void *data, CUpointer_attribute attribute, CUdeviceptr address,
                     const struct range *range)
{
    if (!range)
        return CUDA_ERROR_INVALID_VALUE;
    switch (attribute) {
    case CU_POINTER_ATTRIBUTE_CONTEXT:
        *(CUcontext *)data = range->context;
        break;
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
        *(unsigned *)data = is_on_host(range) ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
        break;
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
        if (attribute == CU_POINTER_ATTRIBUTE_HOST_POINTER && range->kind != RANGE_MANAGED &&
            !is_on_host(range))
            return CUDA_ERROR_INVALID_VALUE;
        *(CUdeviceptr *)data = address;
        break;
    case CU_POINTER_ATTRIBUTE_BUFFER_ID:
        *(unsigned long long *)data = range->id;
        break;
    case CU_POINTER_ATTRIBUTE_IS_MANAGED:
        *(bool *)data = range->kind == RANGE_MANAGED;
        break;
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
        *(int *)data = range->device->ordinal;
        break;
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
        *(CUdeviceptr *)data = range->base;
        break;
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
        *(size_t *)data = range->size;
        break;
    case CU_POINTER_ATTRIBUTE_MAPPED:
        *(bool *)data = true;
        break;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
    return CUDA_SUCCESS;
}

CUresult sim_cuPointerGetAttribute(void *data, CUpointer_attribute attribute, CUdeviceptr address)
{
    return data ? give(data, attribute, address, address_find(address)) : CUDA_ERROR_INVALID_VALUE;
}

static size_t width_of(CUpointer_attribute attribute)
{
    switch (attribute) {
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
        return sizeof(int);
    case CU_POINTER_ATTRIBUTE_IS_MANAGED:
    case CU_POINTER_ATTRIBUTE_MAPPED:
        return sizeof(bool);
    default:
        return sizeof(void *);
    }
}

/* What is not known is zero, or -2 as a device, and no error. */
CUresult sim_cuPointerGetAttributes(unsigned n, CUpointer_attribute *attributes, void **data,
                                    CUdeviceptr address)
{
    const struct range *range = address_find(address);

    if (!n || !attributes || !data)
        return CUDA_ERROR_INVALID_VALUE;
    for (unsigned i = 0; i < n; i++) {
        if (give(data[i], attributes[i], address, range) == CUDA_SUCCESS)
            continue;
        for (size_t byte = 0; byte < width_of(attributes[i]); byte++)
            ((char *)data[i])[byte] = 0;
        if (attributes[i] == CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL)
            *(int *)data[i] = -2;
    }
    return CUDA_SUCCESS;
}
