// SPDX-License-Identifier: Apache-2.0
#include "cuda/pool.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/array.h"
#include "cuda/address.h"
#include "cuda/graphmemory.h"
#include "cuda/stream.h"

/* Pools grow by this. */
#define POOL_CHUNK (UINT64_C(32) << 20)

struct CUmemPoolHandle_st {
    struct arena arena;
    uint64_t threshold;
    uint64_t reuse[3]; /* the three switches, which change nothing here */
    bool is_default, is_ended;
    bool can_share;
    bool is_foreign; /* another process's: nothing can be allocated from it */
    int fd;          /* what stands for it elsewhere; -1: nothing does yet */
    CUmemoryPool next;
};

static CUmemoryPool pools;

static CUmemoryPool new_pool(struct cuda_device *device)
{
    CUmemoryPool pool = calloc(1, sizeof(*pool));

    if (!pool)
        return NULL;
    pool->arena = (struct arena){.device = device, .unit = 512, .chunk_bytes = POOL_CHUNK};
    for (size_t i = 0; i < ARRAY_SIZE(pool->reuse); i++)
        pool->reuse[i] = 1;
    pool->fd = -1;
    pool->next = pools;
    pools = pool;
    return pool;
}

static CUmemoryPool default_pool(struct cuda_device *device)
{
    if (!device->default_pool && (device->default_pool = new_pool(device)))
        device->default_pool->is_default = true;
    return device->default_pool;
}

static CUmemoryPool current_pool(struct cuda_device *device)
{
    return device->current_pool ? device->current_pool : default_pool(device);
}

static bool is_pool(CUmemoryPool pool)
{
    for (CUmemoryPool p = pools; p; p = p->next)
        if (p == pool)
            return !p->is_ended;
    return false;
}

/* A destroyed pool ends with its last allocation. */
static void end_if_empty(CUmemoryPool pool)
{
    CUmemoryPool *link = &pools;

    if (!pool->is_ended || pool->arena.used > 0)
        return;
    while (*link != pool)
        link = &(*link)->next;
    *link = pool->next;
    arena_deinit(&pool->arena);
    if (pool->fd >= 0)
        close(pool->fd);
    free(pool);
}

static void release(struct range *range)
{
    arena_give(&range->pool->arena, range->base);
    end_if_empty(range->pool);
}

void pool_synchronised(const struct cuda_device *device)
{
    for (CUmemoryPool pool = pools; pool; pool = pool->next)
        if (pool->arena.device == device)
            arena_trim(&pool->arena, pool->threshold);
}

static CUresult give_pool(CUmemoryPool *to, CUdevice ordinal,
                          CUmemoryPool (*which)(struct cuda_device *device))
{
    struct cuda_device *device = cuda_device(ordinal);

    if (!device)
        return CUDA_ERROR_INVALID_DEVICE;
    if (!to)
        return CUDA_ERROR_INVALID_VALUE;
    *to = which(device);
    return *to ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult sim_cuDeviceGetDefaultMemPool(CUmemoryPool *to, CUdevice ordinal)
{
    return give_pool(to, ordinal, default_pool);
}

CUresult sim_cuDeviceGetMemPool(CUmemoryPool *to, CUdevice ordinal)
{
    return give_pool(to, ordinal, current_pool);
}

CUresult sim_cuDeviceSetMemPool(CUdevice ordinal, CUmemoryPool pool)
{
    struct cuda_device *device = cuda_device(ordinal);

    if (!device)
        return CUDA_ERROR_INVALID_DEVICE;
    if (!is_pool(pool) || pool->arena.device != device)
        return CUDA_ERROR_INVALID_VALUE;
    device->current_pool = pool;
    return CUDA_SUCCESS;
}

CUresult sim_cuMemPoolCreate(CUmemoryPool *to, const CUmemPoolProps *properties)
{
    struct cuda_device *device = properties ? cuda_device(properties->location.id) : NULL;

    if (!to || !device || properties->allocType != CU_MEM_ALLOCATION_TYPE_PINNED ||
        properties->location.type != CU_MEM_LOCATION_TYPE_DEVICE)
        return CUDA_ERROR_INVALID_VALUE;
    if (properties->handleTypes & ~(unsigned)CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR)
        return CUDA_ERROR_NOT_SUPPORTED;
    *to = new_pool(device);
    if (!*to)
        return CUDA_ERROR_OUT_OF_MEMORY;
    (*to)->can_share = properties->handleTypes != CU_MEM_HANDLE_TYPE_NONE;
    return CUDA_SUCCESS;
}

CUresult sim_cuMemPoolDestroy(CUmemoryPool pool)
{
    if (!is_pool(pool) || pool->is_default)
        return CUDA_ERROR_INVALID_VALUE;
    if (pool->arena.device->current_pool == pool)
        pool->arena.device->current_pool = NULL;
    pool->is_ended = true;
    arena_trim(&pool->arena, 0);
    end_if_empty(pool);
    return CUDA_SUCCESS;
}

CUresult sim_cuMemPoolTrimTo(CUmemoryPool pool, size_t keep)
{
    if (!is_pool(pool))
        return CUDA_ERROR_INVALID_VALUE;
    arena_trim(&pool->arena, keep);
    return CUDA_SUCCESS;
}

/* --- pools of other processes: the pool itself, and nothing that is in it --- */

/* All descriptors of a pool are one open file, and stay open in programs that are executed: so they
 * do with NVIDIA's driver, other than those of memory. */

static bool make_file(CUmemoryPool pool)
{
    const unsigned gpu = pool->arena.device->index;

    if (pool->fd < 0)
        pool->fd = memfd_create("gpuslice-sim-pool", MFD_CLOEXEC);
    return pool->fd >= 0 && pwrite(pool->fd, &gpu, sizeof(gpu), 0) == sizeof(gpu);
}

CUresult sim_cuMemPoolExportToShareableHandle(void *to, CUmemoryPool pool,
                                              CUmemAllocationHandleType type,
                                              unsigned long long flags)
{
    int fd;

    if (!to || !is_pool(pool) || flags || type != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR ||
        !pool->can_share)
        return CUDA_ERROR_INVALID_VALUE;
    fd = make_file(pool) ? dup(pool->fd) : -1;
    if (fd < 0)
        return CUDA_ERROR_OPERATING_SYSTEM;
    *(int *)to = fd;
    return CUDA_SUCCESS;
}

static struct cuda_device *find_device(unsigned gpu)
{
    struct cuda_device *device;

    for (int i = 0; (device = cuda_device(i)); i++)
        if (device->index == gpu)
            return device;
    return NULL;
}

CUresult sim_cuMemPoolImportFromShareableHandle(CUmemoryPool *to, void *from,
                                                CUmemAllocationHandleType type,
                                                unsigned long long flags)
{
    struct cuda_device *device;
    unsigned gpu;

    if (!to || flags || type != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR ||
        pread((int)(uintptr_t)from, &gpu, sizeof(gpu), 0) != sizeof(gpu))
        return CUDA_ERROR_INVALID_VALUE;
    device = find_device(gpu);
    if (!device)
        return CUDA_ERROR_INVALID_DEVICE;
    *to = new_pool(device);
    if (!*to)
        return CUDA_ERROR_OUT_OF_MEMORY;
    (*to)->is_foreign = true;
    return CUDA_SUCCESS;
}

/* --- attributes --- */

static uint64_t *value_of(CUmemoryPool pool, CUmemPool_attribute attribute)
{
    switch (attribute) {
    case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD:
        return &pool->threshold;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT:
        return &pool->arena.reserved;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:
        return &pool->arena.reserved_high;
    case CU_MEMPOOL_ATTR_USED_MEM_CURRENT:
        return &pool->arena.used;
    case CU_MEMPOOL_ATTR_USED_MEM_HIGH:
        return &pool->arena.used_high;
    default:
        return NULL;
    }
}

/* The switches, which are of type int. */
static uint64_t *switch_of(CUmemoryPool pool, CUmemPool_attribute attribute)
{
    unsigned at = (unsigned)attribute - CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES;

    return at < ARRAY_SIZE(pool->reuse) ? &pool->reuse[at] : NULL;
}

CUresult sim_cuMemPoolGetAttribute(CUmemoryPool pool, CUmemPool_attribute attribute, void *value)
{
    if (!is_pool(pool) || !value)
        return CUDA_ERROR_INVALID_VALUE;
    if (switch_of(pool, attribute))
        *(int *)value = (int)*switch_of(pool, attribute);
    else if (value_of(pool, attribute))
        *(uint64_t *)value = *value_of(pool, attribute);
    else
        return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
}

/* High-water marks can only be set to 0: down to what there is now. */
CUresult sim_cuMemPoolSetAttribute(CUmemoryPool pool, CUmemPool_attribute attribute, void *value)
{
    if (!is_pool(pool) || !value)
        return CUDA_ERROR_INVALID_VALUE;
    if (switch_of(pool, attribute))
        *switch_of(pool, attribute) = *(int *)value != 0;
    else if (attribute == CU_MEMPOOL_ATTR_RELEASE_THRESHOLD)
        pool->threshold = *(uint64_t *)value;
    else if (attribute == CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH && *(uint64_t *)value == 0)
        pool->arena.reserved_high = pool->arena.reserved;
    else if (attribute == CU_MEMPOOL_ATTR_USED_MEM_HIGH && *(uint64_t *)value == 0)
        pool->arena.used_high = pool->arena.used;
    else
        return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
}

static CUresult allocate(CUdeviceptr *to, size_t bytes, CUmemoryPool pool)
{
    struct range range = {.size = bytes,
                          .kind = RANGE_POOL,
                          .device = pool->arena.device,
                          .pool = pool,
                          .release = release};
    CUresult r;

    if (!to || bytes == 0 || pool->is_foreign)
        return CUDA_ERROR_INVALID_VALUE;
    range.arena = &pool->arena;
    r = arena_take(range.arena, bytes, &range.base);
    if (r == CUDA_ERROR_OUT_OF_MEMORY) { /* what is reserved and unused is given back first */
        arena_trim(range.arena, 0);
        r = arena_take(range.arena, bytes, &range.base);
    }
    if (r != CUDA_SUCCESS)
        return r;
    if (!address_add(&range)) {
        arena_give(range.arena, range.base);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *to = range.base;
    return CUDA_SUCCESS;
}

/* A stream that is captured gets a node in place of memory, which the graph has. */
static CUresult allocate_in(CUdeviceptr *to, size_t bytes, CUmemoryPool pool, CUstream stream)
{
    struct work work;
    CUresult r;

    if (!stream->capture)
        return allocate(to, bytes, pool);
    if (!to || bytes == 0 || pool->is_foreign)
        return CUDA_ERROR_INVALID_VALUE;
    r = graphmemory_reserve(pool->arena.device, bytes, to, &work);
    return r == CUDA_SUCCESS ? stream_do(stream, &work, NULL) : r;
}

CUresult sim_cuMemAllocAsync(CUdeviceptr *to, size_t bytes, CUstream handle)
{
    CUstream stream;
    CUresult r = stream_find(handle, &stream);
    CUmemoryPool pool;

    if (r != CUDA_SUCCESS)
        return r;
    pool = current_pool(stream->context->device);
    return pool ? allocate_in(to, bytes, pool, stream) : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult sim_cuMemAllocFromPoolAsync(CUdeviceptr *to, size_t bytes, CUmemoryPool pool,
                                     CUstream handle)
{
    CUstream stream;
    CUresult r = stream_find(handle, &stream);

    if (r != CUDA_SUCCESS)
        return r;
    return is_pool(pool) ? allocate_in(to, bytes, pool, stream) : CUDA_ERROR_INVALID_VALUE;
}

static void free_in_order(const void *arguments)
{
    CUdeviceptr address;
    struct range *range;

    memcpy(&address, arguments, sizeof(address));
    range = address_find_begin(address);
    if (range && range->kind <= RANGE_POOL)
        address_free(range);
}

CUresult sim_cuMemFreeAsync(CUdeviceptr address, CUstream handle)
{
    const struct range *range = address_find_begin(address);
    struct work work = stream_work(CU_GRAPH_NODE_TYPE_MEM_FREE, NULL, &address, sizeof(address));
    CUstream stream;
    CUresult r = stream_find(handle, &stream);

    if (r != CUDA_SUCCESS)
        return r;
    if (stream->capture) { /* a node, which frees what a graph allocates */
        r = graphmemory_free_work(address, &work);
        return r == CUDA_SUCCESS ? stream_do(stream, &work, NULL) : r;
    }
    if (!range || range->kind > RANGE_POOL)
        return CUDA_ERROR_INVALID_VALUE;
    work.finish = free_in_order;
    return stream_do(stream, &work, NULL);
}
