// SPDX-License-Identifier: Apache-2.0

/* Virtual memory management: addresses and physical memory apart, and what is mapped where. */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "cuda/address.h"
#include "cuda/physical.h"

/* Addresses that were reserved. */
static struct reservation {
    CUdeviceptr base;
    uint64_t size;
} * reservations;
static size_t n_reservations, reservations_capacity;

/* Physical memory by its handle, which is its address. */
static struct handle {
    struct physical *physical;
    unsigned n_references; /* what cuMemRelease takes away */
} * handles;
static size_t n_handles, handles_capacity;

static bool is_whole(uint64_t bytes)
{
    return bytes > 0 && bytes % CUDA_GRANULE == 0;
}

static struct reservation *find_reservation(CUdeviceptr address, uint64_t size)
{
    for (size_t i = 0; i < n_reservations; i++) {
        struct reservation *r = &reservations[i];

        if (address >= r->base && size <= r->size && address - r->base <= r->size - size)
            return r;
    }
    return NULL;
}

static struct handle *find_handle(CUmemGenericAllocationHandle value)
{
    for (size_t i = 0; i < n_handles; i++)
        if ((uintptr_t)handles[i].physical == value)
            return &handles[i];
    return NULL;
}

/* Takes over one use of the memory. */
static CUresult add_handle(struct physical *physical, CUmemGenericAllocationHandle *to)
{
    struct handle *handle = array_push(&handles, &n_handles, &handles_capacity, sizeof(*handle));

    if (!handle) {
        physical_put(physical);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *handle = (struct handle){physical, 1};
    *to = (uintptr_t)physical;
    return CUDA_SUCCESS;
}

static CUresult check_properties(const CUmemAllocationProp *properties,
                                 struct cuda_device **ret_device)
{
    struct cuda_device *device = properties ? cuda_device(properties->location.id) : NULL;

    if (!properties || properties->type != CU_MEM_ALLOCATION_TYPE_PINNED)
        return CUDA_ERROR_INVALID_VALUE;
    if (properties->location.type != CU_MEM_LOCATION_TYPE_DEVICE)
        return CUDA_ERROR_NOT_SUPPORTED;
    if (!device)
        return CUDA_ERROR_INVALID_DEVICE;
    if (properties->requestedHandleTypes & ~(unsigned)CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR)
        return CUDA_ERROR_NOT_SUPPORTED;
    *ret_device = device;
    return CUDA_SUCCESS;
}

CUresult sim_cuMemGetAllocationGranularity(size_t *granularity,
                                           const CUmemAllocationProp *properties,
                                           CUmemAllocationGranularity_flags option)
{
    struct cuda_device *device;
    CUresult r = check_properties(properties, &device);

    if (!granularity || (unsigned)option > CU_MEM_ALLOC_GRANULARITY_RECOMMENDED)
        return CUDA_ERROR_INVALID_VALUE;
    if (r == CUDA_SUCCESS)
        *granularity = CUDA_GRANULE;
    return r;
}

CUresult sim_cuMemAddressReserve(CUdeviceptr *to, size_t size, size_t alignment,
                                 CUdeviceptr address, unsigned long long flags)
{
    struct reservation *new;
    CUdeviceptr base;

    if (!to || !is_whole(size) || flags || (alignment & (alignment - 1)))
        return CUDA_ERROR_INVALID_VALUE;
    base = physical_reserve(size);
    if (!base)
        return CUDA_ERROR_OUT_OF_MEMORY;
    new = array_push(&reservations, &n_reservations, &reservations_capacity, sizeof(*new));
    if (!new) {
        physical_unreserve(base, size);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *new = (struct reservation){base, size};
    *to = base;
    return CUDA_SUCCESS;
}

static bool is_free(CUdeviceptr address, uint64_t size)
{
    const struct range *next = address_next(address);

    return !address_find(address) && (!next || next->base >= address + size);
}

CUresult sim_cuMemAddressFree(CUdeviceptr address, size_t size)
{
    struct reservation *r = find_reservation(address, size);

    if (!r || r->base != address || r->size != size || !is_free(address, size))
        return CUDA_ERROR_INVALID_VALUE;
    physical_unreserve(address, size);
    *r = reservations[--n_reservations];
    return CUDA_SUCCESS;
}

CUresult sim_cuMemCreate(CUmemGenericAllocationHandle *to, size_t size,
                         const CUmemAllocationProp *properties, unsigned long long flags)
{
    struct physical *physical;
    struct cuda_device *device;
    CUresult r = check_properties(properties, &device);

    if (r != CUDA_SUCCESS)
        return r;
    if (!to || !is_whole(size) || flags)
        return CUDA_ERROR_INVALID_VALUE;
    r = physical_new(device, size, properties->requestedHandleTypes != CU_MEM_HANDLE_TYPE_NONE,
                     &physical);
    if (r != CUDA_SUCCESS)
        return r;
    physical->handle_type = properties->requestedHandleTypes;
    return add_handle(physical, to);
}

/* The memory itself stays while it is mapped. */
CUresult sim_cuMemRelease(CUmemGenericAllocationHandle value)
{
    struct handle *handle = find_handle(value);

    if (!handle)
        return CUDA_ERROR_INVALID_VALUE;
    if (--handle->n_references > 0)
        return CUDA_SUCCESS;
    physical_put(handle->physical);
    *handle = handles[--n_handles];
    return CUDA_SUCCESS;
}

static void release(struct range *range)
{
    physical_unmap(range->base, range->size);
    physical_put(range->physical);
}

CUresult sim_cuMemMap(CUdeviceptr address, size_t size, size_t offset,
                      CUmemGenericAllocationHandle value, unsigned long long flags)
{
    struct handle *handle = find_handle(value);
    struct range range = {.base = address, .size = size, .kind = RANGE_VIRTUAL, .release = release};

    if (!handle || flags || offset || !is_whole(size) || size > handle->physical->size ||
        !find_reservation(address, size) || !is_free(address, size))
        return CUDA_ERROR_INVALID_VALUE;
    range.physical = handle->physical;
    range.device = handle->physical->device;
    if (!physical_map(range.physical, 0, size, address, PROT_NONE) || !address_add(&range))
        return CUDA_ERROR_OUT_OF_MEMORY;
    physical_get(range.physical);
    return CUDA_SUCCESS;
}

/* Several mappings at once, if they are whole and fill the range. */
static bool is_mapped(CUdeviceptr address, uint64_t size)
{
    for (CUdeviceptr at = address; at < address + size;) {
        const struct range *range = address_find_begin(at);

        if (!range || range->kind != RANGE_VIRTUAL || range->size > address + size - at)
            return false;
        at += range->size;
    }
    return size > 0;
}

CUresult sim_cuMemUnmap(CUdeviceptr address, size_t size)
{
    CUdeviceptr end = address + size;

    if (!is_mapped(address, size))
        return CUDA_ERROR_INVALID_VALUE;
    for (struct range *range; address < end; address += size) {
        range = address_find_begin(address);
        size = range->size;
        address_free(range);
    }
    return CUDA_SUCCESS;
}

CUresult sim_cuMemSetAccess(CUdeviceptr address, size_t size, const CUmemAccessDesc *wanted,
                            size_t n_wanted)
{
    int protection = PROT_NONE;

    if (!wanted || !n_wanted || !is_mapped(address, size))
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < n_wanted; i++) {
        if (wanted[i].location.type == CU_MEM_LOCATION_TYPE_DEVICE &&
            !cuda_device(wanted[i].location.id))
            return CUDA_ERROR_INVALID_DEVICE;
        protection |= wanted[i].flags & CU_MEM_ACCESS_FLAGS_PROT_READ ? PROT_READ : 0;
        protection |= wanted[i].flags == CU_MEM_ACCESS_FLAGS_PROT_READWRITE ? PROT_WRITE : 0;
    }
    if (mprotect((void *)(uintptr_t)address, size, protection) < 0)
        return CUDA_ERROR_INVALID_VALUE;
    for (CUdeviceptr at = address; at < address + size;) {
        struct range *range = address_find_begin(at);

        range->is_readable = protection & PROT_READ;
        range->is_writable = protection & PROT_WRITE;
        at += range->size;
    }
    return CUDA_SUCCESS;
}

CUresult sim_cuMemGetAccess(unsigned long long *flags, const CUmemLocation *location,
                            CUdeviceptr address)
{
    const struct range *range = address_find(address);

    if (!flags || !location || !range || range->kind != RANGE_VIRTUAL)
        return CUDA_ERROR_INVALID_VALUE;
    *flags = range->is_writable   ? CU_MEM_ACCESS_FLAGS_PROT_READWRITE
             : range->is_readable ? CU_MEM_ACCESS_FLAGS_PROT_READ
                                  : CU_MEM_ACCESS_FLAGS_PROT_NONE;
    return CUDA_SUCCESS;
}

CUresult sim_cuMemGetAllocationPropertiesFromHandle(CUmemAllocationProp *to,
                                                    CUmemGenericAllocationHandle value)
{
    const struct handle *handle = find_handle(value);

    if (!to || !handle)
        return CUDA_ERROR_INVALID_VALUE;
    *to = (CUmemAllocationProp){
        .type = CU_MEM_ALLOCATION_TYPE_PINNED,
        .requestedHandleTypes = handle->physical->handle_type,
        .location = {CU_MEM_LOCATION_TYPE_DEVICE, handle->physical->device->ordinal}};
    return CUDA_SUCCESS;
}

CUresult sim_cuMemRetainAllocationHandle(CUmemGenericAllocationHandle *to, void *address)
{
    const struct range *range = address_find((uintptr_t)address);
    struct handle *handle;

    if (!to || !range || range->kind != RANGE_VIRTUAL)
        return CUDA_ERROR_INVALID_VALUE;
    handle = find_handle((uintptr_t)range->physical);
    if (!handle)
        return add_handle(physical_get(range->physical), to);
    handle->n_references++;
    *to = (uintptr_t)range->physical;
    return CUDA_SUCCESS;
}

CUresult sim_cuMemExportToShareableHandle(void *to, CUmemGenericAllocationHandle value,
                                          CUmemAllocationHandleType type, unsigned long long flags)
{
    const struct handle *handle = find_handle(value);
    int fd;

    if (!to || !handle || flags || type != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR ||
        !handle->physical->owns_fd || handle->physical->is_foreign)
        return CUDA_ERROR_INVALID_VALUE;
    fd = physical_open_again(handle->physical->fd);
    if (fd < 0)
        return CUDA_ERROR_OPERATING_SYSTEM;
    *(int *)to = fd;
    return CUDA_SUCCESS;
}

/* A descriptor tells nothing of its device: it is taken for the first. */
CUresult sim_cuMemImportFromShareableHandle(CUmemGenericAllocationHandle *to, void *from,
                                            CUmemAllocationHandleType type)
{
    cleanup_close int fd = fcntl((int)(uintptr_t)from, F_DUPFD_CLOEXEC, 0);
    struct physical *physical;
    struct stat st;
    CUresult r;

    if (!to || type != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR || fd < 0 || fstat(fd, &st) < 0 ||
        !is_whole((uint64_t)st.st_size))
        return CUDA_ERROR_INVALID_VALUE;
    r = physical_open(cuda_device(0), fd, 0, (uint64_t)st.st_size, &physical);
    if (r != CUDA_SUCCESS)
        return r;
    (void)TAKE_FD(fd);
    physical->handle_type = type;
    return add_handle(physical, to);
}
