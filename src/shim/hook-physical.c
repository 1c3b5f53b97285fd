// SPDX-License-Identifier: Apache-2.0

/*
 * Physical memory and where it is mapped. It ends when its handle was released as often as it was
 * created and retained, and nothing of it is mapped; what was imported is charged to the process
 * that created it.
 */

#include <stdlib.h>

#include "shim/hook.h"
#include "shim/ownlock.h"
#include "shim/session.h"

struct physical {
    int slot;
    uint64_t bytes;
    uint64_t n_uses; /* handles and mappings */
};

static struct ownlock lock = OWNLOCK_NEW;

static void use(struct physical *physical)
{
    ownlock_enter(&lock);
    physical->n_uses++;
    ownlock_leave(&lock);
}

static void end_use(struct physical *physical)
{
    bool is_last;

    ownlock_enter(&lock);
    is_last = --physical->n_uses == 0;
    ownlock_leave(&lock);
    if (!is_last)
        return;
    session_give(physical->slot, physical->bytes);
    free(physical);
}

static struct physical *physical_of(const struct allocated *entry)
{
    return (struct physical *)(uintptr_t)entry->owner;
}

/* A handle that is known already is held once more. */
static void note_handle(struct physical *physical, CUmemGenericAllocationHandle handle,
                        int n_holders)
{
    const struct allocated entry = {.kind = ALLOCATION_PHYSICAL,
                                    .slot = physical->slot,
                                    .key = handle,
                                    .bytes = (uint64_t)n_holders,
                                    .owner = (uintptr_t)physical};
    struct allocated older;

    allocations_put(&entry, &older);
}

CUresult cuMemCreate(CUmemGenericAllocationHandle *handle, size_t size,
                     const CUmemAllocationProp *prop, unsigned long long flags)
{
    struct charge charge = {.slot = SESSION_NO_SLOT};
    const struct cuda_functions *driver;
    struct physical *physical;
    CUresult r;

    HOOK_DRIVER(driver, cuMemCreate);
    if (prop && prop->location.type == CU_MEM_LOCATION_TYPE_DEVICE)
        charge = charge_device(driver, prop->location.id, size);
    if (charge.is_denied)
        return CUDA_ERROR_OUT_OF_MEMORY;
    r = driver->cuMemCreate(handle, size, prop, flags);
    if (charge.slot == SESSION_NO_SLOT)
        return r;
    physical = r == CUDA_SUCCESS ? malloc(sizeof(*physical)) : NULL;
    if (!physical) {
        if (r != CUDA_SUCCESS)
            session_give(charge.slot, charge.bytes);
        return r;
    }
    *physical = (struct physical){charge.slot, charge.bytes, 1};
    note_handle(physical, *handle, 1);
    return r;
}

CUresult cuMemRelease(CUmemGenericAllocationHandle handle)
{
    const struct cuda_functions *driver;
    struct allocated entry;
    bool is_known;
    CUresult r;

    HOOK_DRIVER(driver, cuMemRelease);
    is_known = allocations_take(ALLOCATION_PHYSICAL, handle, &entry);
    r = driver->cuMemRelease(handle);
    if (!is_known)
        return r;
    if (r != CUDA_SUCCESS || entry.bytes > 1)
        note_handle(physical_of(&entry), handle, (int)entry.bytes - (r == CUDA_SUCCESS));
    if (r == CUDA_SUCCESS)
        end_use(physical_of(&entry));
    return r;
}

/* The driver gave out a handle of memory that the process has already. */
static void held_again(struct physical *physical, CUmemGenericAllocationHandle handle)
{
    struct allocated entry = {.bytes = 0};

    allocations_get(ALLOCATION_PHYSICAL, handle, &entry);
    use(physical);
    note_handle(physical, handle, (int)entry.bytes + 1);
}

struct place {
    uint64_t begin, size;
};

static bool is_mapped_at(const struct allocated *entry, const void *address)
{
    return entry->kind == ALLOCATION_MAPPING &&
           *(const uint64_t *)address - entry->key < entry->bytes;
}

static bool is_mapped_in(const struct allocated *entry, const void *userdata)
{
    const struct place *place = userdata;

    return entry->kind == ALLOCATION_MAPPING && entry->key - place->begin < place->size;
}

CUresult cuMemRetainAllocationHandle(CUmemGenericAllocationHandle *handle, void *addr)
{
    const uint64_t address = (uintptr_t)addr;
    struct allocated *mappings;
    const struct cuda_functions *driver;
    CUresult r;
    size_t n;

    HOOK_DRIVER(driver, cuMemRetainAllocationHandle);
    r = driver->cuMemRetainAllocationHandle(handle, addr);
    if (r != CUDA_SUCCESS)
        return r;
    mappings = allocations_list(is_mapped_at, &address, &n);
    if (n > 0)
        held_again(physical_of(&mappings[0]), *handle);
    free(mappings);
    return r;
}

CUresult cuMemImportFromShareableHandle(CUmemGenericAllocationHandle *handle, void *osHandle,
                                        CUmemAllocationHandleType shHandleType)
{
    const struct cuda_functions *driver;
    struct allocated entry;
    CUresult r;

    HOOK_DRIVER(driver, cuMemImportFromShareableHandle);
    r = driver->cuMemImportFromShareableHandle(handle, osHandle, shHandleType);
    if (r == CUDA_SUCCESS && allocations_get(ALLOCATION_PHYSICAL, *handle, &entry))
        held_again(physical_of(&entry), *handle);
    if (r == CUDA_SUCCESS)
        hook_note_shareable(driver, EXCHANGE_OPENED, shHandleType, osHandle);
    return r;
}

CUresult cuMemMap(CUdeviceptr ptr, size_t size, size_t offset, CUmemGenericAllocationHandle handle,
                  unsigned long long flags)
{
    const struct cuda_functions *driver;
    struct allocated entry, older;
    CUresult r;

    HOOK_DRIVER(driver, cuMemMap);
    r = driver->cuMemMap(ptr, size, offset, handle, flags);
    if (r != CUDA_SUCCESS || !allocations_get(ALLOCATION_PHYSICAL, handle, &entry))
        return r;
    use(physical_of(&entry));
    entry.kind = ALLOCATION_MAPPING;
    entry.key = ptr;
    entry.bytes = size;
    allocations_put(&entry, &older);
    return r;
}

/* What a failed call did not unmap is noted again. */
static void unmapped(const struct allocated *mapping, bool is_done)
{
    struct allocated older;

    if (is_done)
        end_use(physical_of(mapping));
    else
        allocations_put(mapping, &older);
}

/* Mostly one mapping, of which the address is the beginning. */
static CUresult unmap_one(const struct cuda_functions *driver, const struct allocated *mapping,
                          CUdeviceptr ptr, size_t size)
{
    const CUresult r = AWAIT_PERHAPS_ALL(driver, driver->cuMemUnmap(ptr, size));

    unmapped(mapping, r == CUDA_SUCCESS);
    return r;
}

static CUresult unmap_all(const struct cuda_functions *driver, CUdeviceptr ptr, size_t size)
{
    const struct place place = {ptr, size};
    size_t n_listed, n = 0;
    struct allocated *mappings = allocations_list(is_mapped_in, &place, &n_listed);
    CUresult r;

    for (size_t i = 0; i < n_listed; i++)
        if (allocations_take_same(&mappings[i]))
            mappings[n++] = mappings[i];
    r = AWAIT_PERHAPS_ALL(driver, driver->cuMemUnmap(ptr, size));
    for (size_t i = 0; i < n; i++)
        unmapped(&mappings[i], r == CUDA_SUCCESS);
    free(mappings);
    return r;
}

CUresult cuMemUnmap(CUdeviceptr ptr, size_t size)
{
    const struct cuda_functions *driver;
    struct allocated mapping;

    HOOK_DRIVER(driver, cuMemUnmap);
    if (allocations_get(ALLOCATION_MAPPING, ptr, &mapping) && mapping.bytes == size &&
        allocations_take_same(&mapping))
        return unmap_one(driver, &mapping, ptr, size);
    return unmap_all(driver, ptr, size);
}
