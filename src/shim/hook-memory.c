// SPDX-License-Identifier: Apache-2.0

/* Memory that is there when the call returns, and the end of memory of the host. */

#include "shim/hook.h"

/* Rows are padded by the driver: to this at least, and to what it says afterwards. */
enum { PITCH_STEP = 512 };

CUresult cuMemAlloc_v2(CUdeviceptr *dptr, size_t bytesize)
{
    HOOK_ALLOCATION(cuMemAlloc_v2, charge_current(driver, bytesize), ALLOCATION_MEMORY, dptr,
                    (dptr, bytesize));
}

CUresult cuMemAlloc(unsigned *dptr, unsigned bytesize)
{
    HOOK_ALLOCATION(cuMemAlloc, charge_current(driver, bytesize), ALLOCATION_MEMORY, dptr,
                    (dptr, bytesize));
}

/* Managed memory moves; it is charged where it is allocated, as if all of it were there. */
CUresult cuMemAllocManaged(CUdeviceptr *dptr, size_t bytesize, unsigned flags)
{
    HOOK_ALLOCATION(cuMemAllocManaged, charge_current(driver, bytesize), ALLOCATION_MEMORY, dptr,
                    (dptr, bytesize, flags));
}

static uint64_t pitched(uint64_t width, uint64_t height)
{
    const uint64_t pitch = (width + PITCH_STEP - 1) / PITCH_STEP * PITCH_STEP;
    uint64_t bytes;

    return __builtin_mul_overflow(pitch, height, &bytes) ? UINT64_MAX : bytes;
}

CUresult cuMemAllocPitch_v2(CUdeviceptr *dptr, size_t *pPitch, size_t WidthInBytes, size_t Height,
                            unsigned ElementSizeBytes)
{
    const struct cuda_functions *driver;
    struct charge charge;
    CUresult r = CUDA_ERROR_OUT_OF_MEMORY;

    HOOK_DRIVER(driver, cuMemAllocPitch_v2);
    charge = charge_current(driver, pitched(WidthInBytes, Height));
    if (!charge.is_denied)
        r = driver->cuMemAllocPitch_v2(dptr, pPitch, WidthInBytes, Height, ElementSizeBytes);
    if (r == CUDA_SUCCESS)
        charge_correct(&charge, *pPitch * Height);
    return charge_end(&charge, r, ALLOCATION_MEMORY, r == CUDA_SUCCESS ? *dptr : 0);
}

CUresult cuMemAllocPitch(unsigned *dptr, unsigned *pPitch, unsigned WidthInBytes, unsigned Height,
                         unsigned ElementSizeBytes)
{
    HOOK_ALLOCATION(cuMemAllocPitch, charge_current(driver, pitched(WidthInBytes, Height)),
                    ALLOCATION_MEMORY, dptr,
                    (dptr, pPitch, WidthInBytes, Height, ElementSizeBytes));
}

/* Also of memory that came from a pool. */
CUresult cuMemFree_v2(CUdeviceptr dptr)
{
    HOOK_FREE(cuMemFree_v2, ALLOCATION_MEMORY, dptr, (dptr));
}

CUresult cuMemFree(unsigned dptr)
{
    HOOK_FREE(cuMemFree, ALLOCATION_MEMORY, dptr, (dptr));
}

CUresult cuMemFreeHost(void *p)
{
    HOOK_END(cuMemFreeHost, (p));
}

CUresult cuMemHostUnregister(void *p)
{
    HOOK_END(cuMemHostUnregister, (p));
}
