// SPDX-License-Identifier: Apache-2.0
#include "cuda/graphmemory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cuda/address.h"
#include "cuda/physical.h"

/* What one node allocates. Its addresses are never given to anybody else. */
static struct graph_memory {
    struct cuda_device *device;
    CUdeviceptr base;
    uint64_t bytes, size;
    struct physical *physical; /* NULL: it has addresses alone */
    struct range *range;       /* while it is allocated */
    bool is_out;               /* by a launch of a graph that does not free it */
    struct graph_memory *next;
} * memories;

/* What the memory of a device's graphs grows by: on an H200 under 580 those with 3568 MiB had 3584
 * MiB of the device. */
#define STEP_BYTES (UINT64_C(32) << 20)

/* Sums of a device. On an H200 under 580 what is used stays so until it is trimmed. */
static struct totals {
    uint64_t used, used_high;         /* by nodes; each is charged by its memory */
    uint64_t reserved, reserved_high; /* whole steps; the difference is charged here */
} totals[MACHINE_MAX_GPUS];

static struct graph_memory *find(CUdeviceptr address)
{
    for (struct graph_memory *m = memories; m; m = m->next)
        if (m->base == address)
            return m;
    return NULL;
}

static CUdeviceptr address_of(const void *arguments)
{
    CUdeviceptr address;

    memcpy(&address, arguments, sizeof(address));
    return address;
}

/* Of a node or a range: it exists as long as the process. */
static struct graph_memory *known(CUdeviceptr address)
{
    struct graph_memory *m = find(address);

    assert(m);
    return m;
}

static struct graph_memory *memory_of(const void *arguments)
{
    return known(address_of(arguments));
}

static void note_highest(struct totals *of)
{
    if (of->used > of->used_high)
        of->used_high = of->used;
    if (of->reserved > of->reserved_high)
        of->reserved_high = of->reserved;
}

/* A node's memory is taken out of what is reserved and not used, or comes along with a new step. */
static CUresult make_room(const struct cuda_device *device, uint64_t bytes)
{
    struct totals *of = &totals[device->index];
    const uint64_t used = of->used + bytes;
    const uint64_t reserved = used > of->reserved ? cuda_round_up(used, STEP_BYTES) : of->reserved;
    CUresult r = CUDA_SUCCESS;

    if (reserved > of->reserved)
        r = cuda_charge(device, reserved - of->reserved);
    if (r != CUDA_SUCCESS)
        return r;
    cuda_refund(device, bytes); /* for the memory itself, which follows */
    of->reserved = reserved;
    of->used = used;
    note_highest(of);
    return r;
}

/* What it had goes back into what is reserved: the reverse. */
static void take_room(const struct cuda_device *device, uint64_t bytes)
{
    struct totals *of = &totals[device->index];

    (void)cuda_charge(device, bytes);
    of->used -= bytes;
}

static void trim(const struct cuda_device *device)
{
    struct totals *of = &totals[device->index];
    const uint64_t needed = cuda_round_up(of->used, STEP_BYTES);

    cuda_refund(device, of->reserved - needed);
    of->reserved = needed;
}

static void release(struct range *range)
{
    struct graph_memory *m = known(range->base);

    m->range = NULL;
    m->is_out = false;
}

/* It was prepared before. */
static void allocate(const void *arguments)
{
    struct graph_memory *m = memory_of(arguments);
    const struct range range = {.base = m->base,
                                .size = m->bytes,
                                .kind = RANGE_POOL,
                                .device = m->device,
                                .physical = m->physical,
                                .release = release};

    if (m->range)
        return;
    m->range = address_add(&range);
}

static void give_back(const void *arguments)
{
    struct graph_memory *m = memory_of(arguments);

    if (m->range)
        address_free(m->range);
}

CUresult graphmemory_reserve(struct cuda_device *device, uint64_t bytes, CUdeviceptr *ret_address,
                             struct work *ret_work)
{
    struct graph_memory *m;

    if (!device || bytes > cuda_total_bytes(device))
        return device ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_INVALID_VALUE;
    m = calloc(1, sizeof(*m));
    if (!m)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *m = (struct graph_memory){.device = device,
                               .bytes = bytes,
                               .size = cuda_round_up(bytes, CUDA_GRANULE),
                               .next = memories};
    m->base = physical_reserve(m->size);
    if (!m->base) {
        free(m);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    memories = m;
    *ret_work = stream_work(CU_GRAPH_NODE_TYPE_MEM_ALLOC, NULL, &m->base, sizeof(m->base));
    ret_work->finish = allocate;
    *ret_address = m->base;
    return CUDA_SUCCESS;
}

void graphmemory_describe(const struct work *work, CUDA_MEM_ALLOC_NODE_PARAMS *ret_parameters)
{
    const struct graph_memory *m = memory_of(work->arguments);

    *ret_parameters = (CUDA_MEM_ALLOC_NODE_PARAMS){
        .poolProps = {.allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
                      .location = {CU_MEM_LOCATION_TYPE_DEVICE, m->device->ordinal}},
        .bytesize = m->bytes,
        .dptr = m->base};
}

CUresult graphmemory_free_work(CUdeviceptr address, struct work *ret_work)
{
    if (!find(address))
        return CUDA_ERROR_INVALID_VALUE;
    *ret_work = stream_work(CU_GRAPH_NODE_TYPE_MEM_FREE, NULL, &address, sizeof(address));
    ret_work->finish = give_back;
    return CUDA_SUCCESS;
}

static bool is_freed_in(const struct work *works, size_t n, CUdeviceptr address)
{
    for (size_t i = 0; i < n; i++)
        if (works[i].finish == give_back && address_of(works[i].arguments) == address)
            return true;
    return false;
}

static void drop_memory(struct graph_memory *m)
{
    physical_put(m->physical);
    m->physical = NULL;
    take_room(m->device, m->size);
}

static CUresult give_memory(struct graph_memory *m)
{
    CUresult r = make_room(m->device, m->size);

    if (r != CUDA_SUCCESS)
        return r;
    r = physical_new(m->device, m->size, false, &m->physical);
    if (r != CUDA_SUCCESS) {
        take_room(m->device, m->size);
        return r;
    }
    if (physical_map(m->physical, 0, m->size, m->base, PROT_READ | PROT_WRITE))
        return CUDA_SUCCESS;
    drop_memory(m);
    return CUDA_ERROR_OUT_OF_MEMORY;
}

static struct graph_memory *allocated_by(const struct work *work)
{
    return work->finish == allocate ? memory_of(work->arguments) : NULL;
}

CUresult graphmemory_upload(const struct work *works, size_t n)
{
    CUresult r = CUDA_SUCCESS;

    for (size_t i = 0; i < n && r == CUDA_SUCCESS; i++) {
        struct graph_memory *m = allocated_by(&works[i]);

        if (m && !m->physical)
            r = give_memory(m);
    }
    return r;
}

CUresult graphmemory_prepare(const struct work *works, size_t n)
{
    CUresult r;

    for (size_t i = 0; i < n; i++) {
        const struct graph_memory *m = allocated_by(&works[i]);

        if (m && m->is_out)
            return CUDA_ERROR_INVALID_VALUE;
    }
    r = graphmemory_upload(works, n);
    for (size_t i = 0; i < n && r == CUDA_SUCCESS; i++) {
        struct graph_memory *m = allocated_by(&works[i]);

        if (m)
            m->is_out = !is_freed_in(works, n, m->base);
    }
    return r;
}

/* What is not allocated goes back. */
CUresult sim_cuDeviceGraphMemTrim(CUdevice ordinal)
{
    const struct cuda_device *device = cuda_device(ordinal);

    if (!device)
        return CUDA_ERROR_INVALID_DEVICE;
    for (struct graph_memory *m = memories; m; m = m->next) {
        if (m->device != device || m->range || m->is_out || !m->physical)
            continue;
        physical_unmap(m->base, m->size);
        drop_memory(m);
    }
    trim(device);
    return CUDA_SUCCESS;
}

CUresult sim_cuDeviceGetGraphMemAttribute(CUdevice ordinal, CUgraphMem_attribute attribute,
                                          void *value)
{
    const struct cuda_device *device = cuda_device(ordinal);
    uint64_t values[4];

    if (!device)
        return CUDA_ERROR_INVALID_DEVICE;
    if (!value || (unsigned)attribute > CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH)
        return CUDA_ERROR_INVALID_VALUE;
    values[CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT] = totals[device->index].used;
    values[CU_GRAPH_MEM_ATTR_USED_MEM_HIGH] = totals[device->index].used_high;
    values[CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT] = totals[device->index].reserved;
    values[CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH] = totals[device->index].reserved_high;
    memcpy(value, &values[attribute], sizeof(values[attribute]));
    return CUDA_SUCCESS;
}
