// SPDX-License-Identifier: Apache-2.0

/* Arrays: the driver tells their size to nobody, so it is computed; what it adds is overhead. */

#include "shim/hook.h"

/* Memory of such arrays is created and mapped by the program. */
enum { WITHOUT_MEMORY = CUDA_ARRAY3D_SPARSE | CUDA_ARRAY3D_DEFERRED_MAPPING };

/* One element of all channels; of rarer formats at most this. */
static uint64_t element_bytes(CUarray_format format, unsigned n_channels)
{
    const unsigned code = (unsigned)format;

    if (code >= CU_AD_FORMAT_BC1_UNORM && code <= CU_AD_FORMAT_BC7_UNORM_SRGB)
        return 1;
    if (format == CU_AD_FORMAT_UNSIGNED_INT8 || format == CU_AD_FORMAT_SIGNED_INT8 ||
        (code >= CU_AD_FORMAT_UNORM_INT8X1 && code <= CU_AD_FORMAT_UNORM_INT8X4) ||
        (code >= CU_AD_FORMAT_SNORM_INT8X1 && code <= CU_AD_FORMAT_SNORM_INT8X4))
        return n_channels;
    if (format == CU_AD_FORMAT_UNSIGNED_INT32 || format == CU_AD_FORMAT_SIGNED_INT32 ||
        format == CU_AD_FORMAT_FLOAT)
        return n_channels * UINT64_C(4);
    return n_channels * UINT64_C(2);
}

static uint64_t at_least_1(uint64_t n)
{
    return n ? n : 1;
}

static uint64_t product(uint64_t a, uint64_t b)
{
    uint64_t bytes;

    return __builtin_mul_overflow(a, b, &bytes) ? UINT64_MAX : bytes;
}

/* Each level is half as wide as the one before it. */
static uint64_t size_of(const CUDA_ARRAY3D_DESCRIPTOR *wanted, unsigned n_levels)
{
    uint64_t sum = 0;

    if (wanted->Flags & WITHOUT_MEMORY)
        return 0;
    for (unsigned level = 0; level < n_levels && level < 32; level++) {
        const uint64_t width = at_least_1(wanted->Width >> level);
        const uint64_t height = at_least_1(wanted->Height >> level);
        const uint64_t bytes = product(
            product(width, height),
            product(at_least_1(wanted->Depth), element_bytes(wanted->Format, wanted->NumChannels)));

        sum = bytes > UINT64_MAX - sum ? UINT64_MAX : sum + bytes;
    }
    return sum;
}

/* NULL: the driver refuses it. */
#define SIZE_2D(wanted)                                                                   \
    ((wanted) ? size_of(&(CUDA_ARRAY3D_DESCRIPTOR){.Width = (wanted)->Width,              \
                                                   .Height = (wanted)->Height,            \
                                                   .Format = (wanted)->Format,            \
                                                   .NumChannels = (wanted)->NumChannels}, \
                        1)                                                                \
              : 0)

CUresult cuArrayCreate_v2(CUarray *pHandle, const CUDA_ARRAY_DESCRIPTOR *pAllocateArray)
{
    HOOK_ALLOCATION(cuArrayCreate_v2, charge_current(driver, SIZE_2D(pAllocateArray)),
                    ALLOCATION_ARRAY, pHandle, (pHandle, pAllocateArray));
}

CUresult cuArrayCreate(CUarray *pHandle, const CUDA_ARRAY_DESCRIPTOR_v1 *pAllocateArray)
{
    HOOK_ALLOCATION(cuArrayCreate, charge_current(driver, SIZE_2D(pAllocateArray)),
                    ALLOCATION_ARRAY, pHandle, (pHandle, pAllocateArray));
}

CUresult cuArray3DCreate_v2(CUarray *pHandle, const CUDA_ARRAY3D_DESCRIPTOR *pAllocateArray)
{
    const uint64_t bytes = pAllocateArray ? size_of(pAllocateArray, 1) : 0;

    HOOK_ALLOCATION(cuArray3DCreate_v2, charge_current(driver, bytes), ALLOCATION_ARRAY, pHandle,
                    (pHandle, pAllocateArray));
}

CUresult cuArray3DCreate(CUarray *pHandle, const CUDA_ARRAY3D_DESCRIPTOR_v1 *pAllocateArray)
{
    CUDA_ARRAY3D_DESCRIPTOR wanted = {0};

    if (pAllocateArray)
        wanted = (CUDA_ARRAY3D_DESCRIPTOR){.Width = pAllocateArray->Width,
                                           .Height = pAllocateArray->Height,
                                           .Depth = pAllocateArray->Depth,
                                           .Format = pAllocateArray->Format,
                                           .NumChannels = pAllocateArray->NumChannels,
                                           .Flags = pAllocateArray->Flags};
    HOOK_ALLOCATION(cuArray3DCreate, charge_current(driver, size_of(&wanted, 1)), ALLOCATION_ARRAY,
                    pHandle, (pHandle, pAllocateArray));
}

CUresult cuArrayDestroy(CUarray hArray)
{
    HOOK_FREE(cuArrayDestroy, ALLOCATION_ARRAY, hArray, (hArray));
}

CUresult cuMipmappedArrayCreate(CUmipmappedArray *pHandle,
                                const CUDA_ARRAY3D_DESCRIPTOR *pMipmappedArrayDesc,
                                unsigned numMipmapLevels)
{
    const uint64_t bytes = pMipmappedArrayDesc ? size_of(pMipmappedArrayDesc, numMipmapLevels) : 0;

    HOOK_ALLOCATION(cuMipmappedArrayCreate, charge_current(driver, bytes), ALLOCATION_MIPMAP,
                    pHandle, (pHandle, pMipmappedArrayDesc, numMipmapLevels));
}

CUresult cuMipmappedArrayDestroy(CUmipmappedArray hMipmappedArray)
{
    HOOK_FREE(cuMipmappedArrayDestroy, ALLOCATION_MIPMAP, hMipmappedArray, (hMipmappedArray));
}
