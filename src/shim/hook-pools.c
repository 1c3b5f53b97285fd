// SPDX-License-Identifier: Apache-2.0

/* Memory in the order of a stream, from pools. */

#include "shim/devices.h"
#include "shim/growth.h"
#include "shim/hook.h"
#include "shim/session.h"

/* A call, of either kind of default stream. */
struct order {
    const struct cuda_functions *driver;
    CUstream stream;
    cuda_cuStreamIsCapturing *is_capturing;
    cuda_cuStreamGetCtx *get_context;
    cuda_cuMemFreeAsync *free;
};

#define ORDER(driver_, stream_, suffix)                                           \
    ((struct order){(driver_), (stream_), (driver_)->cuStreamIsCapturing##suffix, \
                    (driver_)->cuStreamGetCtx##suffix, (driver_)->cuMemFreeAsync##suffix})

/* While a stream is captured nothing is allocated: the graph is charged when it is launched.
 * Where that cannot be known, it is taken for captured. */
static bool is_captured(const struct order *order)
{
    CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_ACTIVE;

    return !order->is_capturing || order->is_capturing(order->stream, &status) != CUDA_SUCCESS ||
           status != CU_STREAM_CAPTURE_STATUS_NONE;
}

/* The device of the stream's context, which need not be the thread's. */
static bool find_device(const struct order *order, CUdevice *ret_device)
{
    const struct cuda_functions *driver = order->driver;
    CUcontext context = NULL, current = NULL;
    bool found;

    found = devices_current(driver, ret_device, &current);
    if (!order->stream || !order->get_context ||
        order->get_context(order->stream, &context) != CUDA_SUCCESS || context == current)
        return found;
    if (driver->cuCtxPushCurrent_v2(context) != CUDA_SUCCESS)
        return false;
    found = driver->cuCtxGetDevice(ret_device) == CUDA_SUCCESS;
    driver->cuCtxPopCurrent_v2(&current);
    return found;
}

/* Noted, so that it is found at once from then on; it lasts as long as the process. */
static bool is_own_of(const struct cuda_functions *driver, CUmemoryPool pool, CUdevice device,
                      struct growth_source *ret_source)
{
    struct charge charge = {.device = device};
    CUmemoryPool own = NULL;

    if (driver->cuDeviceGetDefaultMemPool(&own, device) != CUDA_SUCCESS || own != pool)
        return false;
    ret_source->device = device;
    ret_source->slot = charge.slot = devices_slot(driver, device);
    if (charge.slot != SESSION_NO_SLOT)
        charge_note(&charge, ALLOCATION_POOL, (uintptr_t)pool);
    return true;
}

/* A pool that nobody saw is a device's own, which need not be the stream's. */
static void find_own(const struct cuda_functions *driver, struct growth_source *source)
{
    const CUdevice nearest = source->device;
    int n = 0;

    source->slot = devices_slot(driver, nearest);
    if (!driver->cuDeviceGetDefaultMemPool || !driver->cuDeviceGetCount ||
        is_own_of(driver, source->pool, nearest, source) ||
        driver->cuDeviceGetCount(&n) != CUDA_SUCCESS)
        return;
    for (CUdevice device = 0; device < n; device++)
        if (device != nearest && is_own_of(driver, source->pool, device, source))
            return;
}

/* False: it is not counted. */
static bool find_source(const struct order *order, CUmemoryPool pool,
                        struct growth_source *ret_source)
{
    const struct cuda_functions *driver = order->driver;
    struct allocated known;

    *ret_source = (struct growth_source){.pool = pool};
    if (!session_start() || is_captured(order) || !find_device(order, &ret_source->device))
        return false;
    if (!pool &&
        (!driver->cuDeviceGetMemPool ||
         driver->cuDeviceGetMemPool(&ret_source->pool, ret_source->device) != CUDA_SUCCESS))
        return false;
    if (allocations_get(ALLOCATION_POOL, (uintptr_t)ret_source->pool, &known)) {
        ret_source->device = known.device;
        ret_source->slot = known.slot;
    } else
        find_own(driver, ret_source);
    return ret_source->slot != SESSION_NO_SLOT;
}

/* What a pool keeps unused stands in nobody's way: the driver, too, gives it up before it is out of
 * memory. As a call that is allowed while another thread captures. */
static void trim(const struct cuda_functions *driver, CUmemoryPool pool)
{
    CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;

    if (!driver->cuThreadExchangeStreamCaptureMode || !driver->cuMemPoolTrimTo ||
        driver->cuThreadExchangeStreamCaptureMode(&mode) != CUDA_SUCCESS)
        return;
    driver->cuMemPoolTrimTo(pool, 0);
    driver->cuThreadExchangeStreamCaptureMode(&mode);
}

static bool has_room(const struct cuda_functions *driver, const struct growth_source *source,
                     size_t bytes)
{
    devices_note_context(source->device, source->slot);
    if (growth_prepare(driver, source, bytes, false) == 0)
        return true;
    trim(driver, source->pool);
    growth_look(driver, source);
    charge_reclaim(driver, source->slot);
    return growth_prepare(driver, source, bytes, true) == 0;
}

/* Where the pool grew by more than was to be had, the program gets no memory, and the pool keeps
 * nothing that is free by then. */
static void take_back(const struct order *order, const struct growth_source *source)
{
    trim(order->driver, source->pool);
    growth_look(order->driver, source);
}

static CUresult allocated(const struct order *order, const struct growth_source *source, CUresult r,
                          CUdeviceptr *dptr, size_t bytes)
{
    const struct allocated entry = {.kind = ALLOCATION_POOLED,
                                    .slot = source->slot,
                                    .device = source->device,
                                    .key = r == CUDA_SUCCESS ? *dptr : 0,
                                    .bytes = bytes,
                                    .owner = (uintptr_t)source->pool};
    const bool is_beyond = growth_settle(order->driver, source, bytes) == SESSION_DENIED;

    if (r != CUDA_SUCCESS)
        return r;
    if (is_beyond && order->free && order->free(*dptr, order->stream) == CUDA_SUCCESS) {
        take_back(order, source);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    charge_put(&entry);
    return r;
}

#define POOLED(name, suffix, pool, dptr, bytes, values)                              \
    do {                                                                             \
        const struct cuda_functions *driver;                                         \
        struct growth_source source;                                                 \
        struct order order;                                                          \
                                                                                     \
        HOOK_DRIVER(driver, name##suffix);                                           \
        order = ORDER(driver, hStream, suffix);                                      \
        if (!find_source(&order, pool, &source))                                     \
            return driver->name##suffix values;                                      \
        if (!has_room(driver, &source, bytes))                                       \
            return CUDA_ERROR_OUT_OF_MEMORY;                                         \
        return allocated(&order, &source, driver->name##suffix values, dptr, bytes); \
    } while (0)

CUresult cuMemAllocAsync(CUdeviceptr *dptr, size_t bytesize, CUstream hStream)
{
    POOLED(cuMemAllocAsync, , NULL, dptr, bytesize, (dptr, bytesize, hStream));
}

CUresult cuMemAllocAsync_ptsz(CUdeviceptr *dptr, size_t bytesize, CUstream hStream)
{
    POOLED(cuMemAllocAsync, _ptsz, NULL, dptr, bytesize, (dptr, bytesize, hStream));
}

CUresult cuMemAllocFromPoolAsync(CUdeviceptr *dptr, size_t bytesize, CUmemoryPool pool,
                                 CUstream hStream)
{
    POOLED(cuMemAllocFromPoolAsync, , pool, dptr, bytesize, (dptr, bytesize, pool, hStream));
}

CUresult cuMemAllocFromPoolAsync_ptsz(CUdeviceptr *dptr, size_t bytesize, CUmemoryPool pool,
                                      CUstream hStream)
{
    POOLED(cuMemAllocFromPoolAsync, _ptsz, pool, dptr, bytesize, (dptr, bytesize, pool, hStream));
}

/* Memory of a graph, which is freed in another one, is not in the table. */
CUresult cuMemFreeAsync(CUdeviceptr dptr, CUstream hStream)
{
    HOOK_FREE_ASYNC(cuMemFreeAsync, ALLOCATION_POOLED, dptr, (dptr, hStream));
}

CUresult cuMemFreeAsync_ptsz(CUdeviceptr dptr, CUstream hStream)
{
    HOOK_FREE_ASYNC(cuMemFreeAsync_ptsz, ALLOCATION_POOLED, dptr, (dptr, hStream));
}

/* --- pools --- */

CUresult cuMemPoolCreate(CUmemoryPool *pool, const CUmemPoolProps *poolProps)
{
    const struct cuda_functions *driver;
    struct charge charge = {.slot = SESSION_NO_SLOT};
    CUresult r;

    HOOK_DRIVER(driver, cuMemPoolCreate);
    r = driver->cuMemPoolCreate(pool, poolProps);
    if (r != CUDA_SUCCESS || !session_start())
        return r;
    if (poolProps->location.type == CU_MEM_LOCATION_TYPE_DEVICE)
        charge = charge_device(driver, poolProps->location.id, 0);
    charge_note(&charge, ALLOCATION_POOL, (uintptr_t)*pool);
    return r;
}

/* Its memory is charged to the process that exports it. */
CUresult cuMemPoolImportFromShareableHandle(CUmemoryPool *pool_out, void *handle,
                                            CUmemAllocationHandleType handleType,
                                            unsigned long long flags)
{
    const struct charge charge = {.slot = SESSION_NO_SLOT};
    const struct cuda_functions *driver;
    CUresult r;

    HOOK_DRIVER(driver, cuMemPoolImportFromShareableHandle);
    r = driver->cuMemPoolImportFromShareableHandle(pool_out, handle, handleType, flags);
    if (r == CUDA_SUCCESS && session_start())
        charge_note(&charge, ALLOCATION_POOL, (uintptr_t)*pool_out);
    if (r == CUDA_SUCCESS)
        hook_note_shareable(driver, EXCHANGE_OPENED, handleType, handle);
    return r;
}

static void look_at(const struct cuda_functions *driver, CUmemoryPool pool)
{
    struct growth_source source;

    if (growth_find(pool, &source))
        growth_look(driver, &source);
}

CUresult cuMemPoolTrimTo(CUmemoryPool pool, size_t minBytesToKeep)
{
    const struct cuda_functions *driver;
    CUresult r;

    HOOK_DRIVER(driver, cuMemPoolTrimTo);
    r = driver->cuMemPoolTrimTo(pool, minBytesToKeep);
    if (r == CUDA_SUCCESS)
        look_at(driver, pool);
    return r;
}

/* What is allocated stays, and ends by itself: another pool may get the same handle. */
static void destroyed(CUmemoryPool pool)
{
    const uint64_t kept = allocations_disown((uintptr_t)pool);
    struct growth_source source;
    uint64_t charged;

    if (!growth_find(pool, &source))
        return;
    charged = growth_forget(&source);
    if (kept < charged)
        session_give(source.slot, charged - kept);
}

CUresult cuMemPoolDestroy(CUmemoryPool pool)
{
    const struct cuda_functions *driver;
    struct allocated entry;
    bool is_known;
    CUresult r;

    HOOK_DRIVER(driver, cuMemPoolDestroy);
    is_known = allocations_take(ALLOCATION_POOL, (uintptr_t)pool, &entry);
    r = driver->cuMemPoolDestroy(pool);
    if (r == CUDA_SUCCESS)
        destroyed(pool);
    else if (is_known)
        charge_freed(&entry, false);
    return r;
}
