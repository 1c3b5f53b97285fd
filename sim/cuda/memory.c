// SPDX-License-Identifier: Apache-2.0
#include "cuda/memory.h"

#include <sys/mman.h>

#include "cuda/physical.h"
#include "cuda/stream.h"

/* Smaller allocations share granules. */
#define SMALL (UINT64_C(1) << 20)

static void release(struct range *range)
{
    if (range->arena) {
        arena_give(range->arena, range->base);
        arena_trim(range->arena, 0);
    } else {
        physical_unreserve(range->base, range->physical->size);
        physical_put(range->physical);
    }
}

CUresult memory_allocate(CUcontext context, uint64_t bytes, CUdeviceptr *ret_address)
{
    struct range range = {.size = bytes,
                          .kind = RANGE_DEVICE,
                          .context = context,
                          .device = context->device,
                          .release = release};
    CUresult r;

    if (bytes < SMALL) {
        range.arena = &context->heap;
        r = arena_take(range.arena, bytes, &range.base);
    } else {
        r = physical_new(context->device, bytes, false, &range.physical);
        if (r == CUDA_SUCCESS)
            range.base =
                physical_map(range.physical, 0, range.physical->size, 0, PROT_READ | PROT_WRITE);
    }
    if (r != CUDA_SUCCESS)
        return r;
    if (!range.base || !address_add(&range)) {
        physical_put(range.physical);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *ret_address = range.base;
    return CUDA_SUCCESS;
}

struct range *memory_await(struct range *range)
{
    const CUdeviceptr base = range->base;
    const uint64_t id = range->id;

    stream_wait_context(range->context);
    range = address_find_begin(base);
    return range && range->id == id ? range : NULL;
}

CUresult memory_free(struct range *range)
{
    range = memory_await(range);
    if (!range)
        return CUDA_ERROR_INVALID_VALUE;
    address_free(range);
    return CUDA_SUCCESS;
}

/* Managed memory is charged where it lies: so many bytes of it move to its device, if that has
 * room, or all of it to the host (0). */
static void move_managed(struct range *range, uint64_t bytes)
{
    const uint64_t most = cuda_round_up(range->size, CUDA_GRANULE);
    uint64_t wanted = bytes ? range->resident_bytes + cuda_round_up(bytes, CUDA_GRANULE) : 0;

    if (wanted > most)
        wanted = most;
    if (wanted < range->resident_bytes)
        cuda_refund(range->device, range->resident_bytes - wanted);
    else if (wanted > range->resident_bytes &&
             cuda_charge(range->device, wanted - range->resident_bytes) != CUDA_SUCCESS)
        return; /* it stays on the host */
    range->resident_bytes = wanted;
}

static void release_host(struct range *range)
{
    move_managed(range, 0);
    physical_unreserve(range->base, cuda_round_up(range->size, CUDA_GRANULE));
}

static void release_nothing(struct range *range)
{
}

/* Memory of the host, for a context: pinned or managed. */
static CUresult allocate_host(CUcontext context, enum range_kind kind, uint64_t bytes,
                              unsigned flags, CUdeviceptr *ret_address)
{
    struct range range = {.size = bytes,
                          .kind = kind,
                          .flags = flags,
                          .context = context,
                          .device = context->device,
                          .release = release_host};
    const uint64_t rounded = cuda_round_up(bytes, CUDA_GRANULE);

    if (bytes == 0)
        return CUDA_ERROR_INVALID_VALUE;
    range.base = bytes < (UINT64_C(1) << 46) ? physical_reserve(rounded) : 0;
    if (!range.base)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (mprotect((void *)(uintptr_t)range.base, rounded, PROT_READ | PROT_WRITE) < 0 ||
        !address_add(&range)) {
        physical_unreserve(range.base, rounded);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *ret_address = range.base;
    return CUDA_SUCCESS;
}

CUresult sim_cuMemAlloc_v2(CUdeviceptr *ret_address, size_t bytes)
{
    CUcontext context;
    CUresult r = context_current(&context);

    if (r != CUDA_SUCCESS)
        return r;
    if (!ret_address || bytes == 0)
        return CUDA_ERROR_INVALID_VALUE;
    return memory_allocate(context, bytes, ret_address);
}

CUresult sim_cuMemAllocPitch_v2(CUdeviceptr *ret_address, size_t *ret_pitch, size_t width,
                                size_t height, unsigned element)
{
    const uint64_t pitch = cuda_round_up(width, 512);
    uint64_t bytes;
    CUcontext context;
    CUresult r = context_current(&context);

    if (r != CUDA_SUCCESS)
        return r;
    if (!ret_address || !ret_pitch || !width || !height ||
        (element != 4 && element != 8 && element != 16) ||
        __builtin_mul_overflow(pitch, height, &bytes))
        return CUDA_ERROR_INVALID_VALUE;
    r = memory_allocate(context, bytes, ret_address);
    if (r == CUDA_SUCCESS)
        *ret_pitch = pitch;
    return r;
}

CUresult sim_cuMemAllocManaged(CUdeviceptr *ret_address, size_t bytes, unsigned flags)
{
    CUcontext context;
    CUresult r = context_current(&context);

    if (r != CUDA_SUCCESS)
        return r;
    if (!ret_address || (flags != CU_MEM_ATTACH_GLOBAL && flags != CU_MEM_ATTACH_HOST))
        return CUDA_ERROR_INVALID_VALUE;
    return allocate_host(context, RANGE_MANAGED, bytes, flags, ret_address);
}

/* What came from a pool is freed at once. */
CUresult sim_cuMemFree_v2(CUdeviceptr address)
{
    struct range *range = address_find_begin(address);

    if (!address)
        return CUDA_SUCCESS;
    if (!range || range->kind > RANGE_MANAGED)
        return CUDA_ERROR_INVALID_VALUE;
    if (range->kind != RANGE_POOL)
        return memory_free(range);
    address_free(range);
    return CUDA_SUCCESS;
}

CUresult sim_cuMemGetInfo_v2(size_t *ret_free, size_t *ret_total)
{
    CUcontext context;
    CUresult r = context_current(&context);

    if (r != CUDA_SUCCESS)
        return r;
    if (ret_free)
        *ret_free = cuda_free_bytes(context->device);
    if (ret_total)
        *ret_total = cuda_total_bytes(context->device);
    return CUDA_SUCCESS;
}

CUresult sim_cuMemGetAddressRange_v2(CUdeviceptr *ret_base, size_t *ret_size, CUdeviceptr address)
{
    const struct range *range = address_find(address);
    CUcontext context;
    CUresult r = context_current(&context);

    if (r != CUDA_SUCCESS)
        return r;
    if (!range || range->kind >= RANGE_HOST)
        return CUDA_ERROR_NOT_FOUND;
    if (ret_base)
        *ret_base = range->base;
    if (ret_size)
        *ret_size = range->size;
    return CUDA_SUCCESS;
}

/* To a device, or (NULL) to the host; in the call, whatever the stream has to do. */
static CUresult prefetch(CUdeviceptr address, size_t bytes, const struct cuda_device *device)
{
    struct range *range = address_find(address);

    if (!range || range->kind != RANGE_MANAGED || !bytes)
        return CUDA_ERROR_INVALID_VALUE;
    move_managed(range, device ? bytes : 0);
    return CUDA_SUCCESS;
}

CUresult sim_cuMemPrefetchAsync(CUdeviceptr address, size_t bytes, CUdevice ordinal,
                                CUstream stream)
{
    const int host = -1;

    if (ordinal != host && !cuda_device(ordinal))
        return CUDA_ERROR_INVALID_DEVICE;
    return prefetch(address, bytes, ordinal == host ? NULL : cuda_device(ordinal));
}

CUresult sim_cuMemPrefetchAsync_v2(CUdeviceptr address, size_t bytes, CUmemLocation location,
                                   unsigned flags, CUstream stream)
{
    const bool is_device = location.type == CU_MEM_LOCATION_TYPE_DEVICE;

    if (flags || (!is_device && location.type != CU_MEM_LOCATION_TYPE_HOST))
        return CUDA_ERROR_INVALID_VALUE;
    if (is_device && !cuda_device(location.id))
        return CUDA_ERROR_INVALID_DEVICE;
    return prefetch(address, bytes, is_device ? cuda_device(location.id) : NULL);
}

CUresult sim_cuMemHostAlloc(void **ret_memory, size_t bytes, unsigned flags)
{
    CUdeviceptr address;
    CUcontext context;
    CUresult r = context_current(&context);

    if (r != CUDA_SUCCESS)
        return r;
    if (!ret_memory || flags > 7)
        return CUDA_ERROR_INVALID_VALUE;
    r = allocate_host(context, RANGE_HOST, bytes, flags, &address);
    if (r == CUDA_SUCCESS)
        *ret_memory = (void *)(uintptr_t)address;
    return r;
}

CUresult sim_cuMemAllocHost_v2(void **ret_memory, size_t bytes)
{
    return sim_cuMemHostAlloc(ret_memory, bytes, 0);
}

CUresult sim_cuMemFreeHost(void *memory)
{
    struct range *range = address_find_begin((uintptr_t)memory);

    if (!range || range->kind != RANGE_HOST)
        return CUDA_ERROR_INVALID_VALUE;
    return memory_free(range);
}

static struct range *find_host(const void *memory)
{
    struct range *range = address_find((uintptr_t)memory);

    return range && (range->kind == RANGE_HOST || range->kind == RANGE_REGISTERED) ? range : NULL;
}

CUresult sim_cuMemHostGetDevicePointer_v2(CUdeviceptr *ret_address, void *memory, unsigned flags)
{
    if (!ret_address || flags || !find_host(memory))
        return CUDA_ERROR_INVALID_VALUE;
    *ret_address = (uintptr_t)memory;
    return CUDA_SUCCESS;
}

CUresult sim_cuMemHostGetFlags(unsigned *ret_flags, void *memory)
{
    const struct range *range = find_host(memory);

    if (!ret_flags || !range)
        return CUDA_ERROR_INVALID_VALUE;
    *ret_flags = range->flags;
    return CUDA_SUCCESS;
}

CUresult sim_cuMemHostRegister_v2(void *memory, size_t bytes, unsigned flags)
{
    struct range range = {.base = (uintptr_t)memory,
                          .size = bytes,
                          .kind = RANGE_REGISTERED,
                          .flags = flags,
                          .release = release_nothing};
    const struct range *other = address_next(range.base);
    CUresult r = context_current(&range.context);

    if (r != CUDA_SUCCESS)
        return r;
    if (!memory || !bytes)
        return CUDA_ERROR_INVALID_VALUE;
    if (address_find(range.base) || (other && other->base < range.base + bytes))
        return CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
    range.device = range.context->device;
    return address_add(&range) ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult sim_cuMemHostUnregister(void *memory)
{
    struct range *range = address_find_begin((uintptr_t)memory);

    if (!range || range->kind != RANGE_REGISTERED)
        return CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
    return memory_free(range);
}
