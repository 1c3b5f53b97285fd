// SPDX-License-Identifier: Apache-2.0
#include "shim/charge.h"

#include <stdlib.h>

#include "shim/devices.h"
#include "shim/growth.h"
#include "shim/session.h"
#include "shim/wire.h"

/* The driver gives memory in steps of this, which smaller allocations share. */
#define GRANULE_BYTES (UINT64_C(2) << 20)
#define SHARED_BYTES  (UINT64_C(1) << 20) /* below: smaller */
#define SMALLEST      512

/* More is nowhere; nothing of it is rounded, so that no sum overflows. */
#define MOST_BYTES (UINT64_C(1) << 48)

enum { LOOK_AGAIN_MS = 1000 };

static uint64_t round_up(uint64_t bytes)
{
    const uint64_t step = bytes >= SHARED_BYTES ? GRANULE_BYTES : SMALLEST;

    return bytes >= MOST_BYTES ? MOST_BYTES : (bytes + step - 1) / step * step;
}

static bool is_memory_of(const struct allocated *entry, const void *slot)
{
    return entry->kind == ALLOCATION_MEMORY && entry->slot == *(const int *)slot;
}

/* Memory can end without our hooks: by the runtime library's own way to reset a device. */
static void look_for_ended(const struct cuda_functions *driver, int slot)
{
    static uint64_t looked_ms;
    const uint64_t now_ms = wire_now_ms();
    struct allocated *entries;
    size_t n;

    if (!driver->cuPointerGetAttribute ||
        now_ms - __atomic_load_n(&looked_ms, __ATOMIC_RELAXED) < LOOK_AGAIN_MS)
        return;
    __atomic_store_n(&looked_ms, now_ms, __ATOMIC_RELAXED);
    entries = allocations_list(is_memory_of, &slot, &n);
    for (size_t i = 0; i < n; i++) {
        unsigned type;

        if (driver->cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
                                          entries[i].key) == CUDA_ERROR_INVALID_VALUE &&
            allocations_take_same(&entries[i]))
            session_give(slot, entries[i].bytes);
    }
    free(entries);
}

void charge_reclaim(const struct cuda_functions *driver, int slot)
{
    growth_look_at_all(driver, slot);
    look_for_ended(driver, slot);
}

static int take(const struct cuda_functions *driver, int slot, uint64_t bytes)
{
    if (!session_has(slot, bytes))
        charge_reclaim(driver, slot);
    return session_take(slot, bytes);
}

static void charge_slot(const struct cuda_functions *driver, struct charge *charge, uint64_t bytes)
{
    charge->slot = devices_slot(driver, charge->device);
    if (charge->slot == SESSION_NO_SLOT)
        return;
    if (charge->context)
        devices_note_context(charge->device, charge->slot);
    charge->bytes = round_up(bytes);
    charge->is_denied = charge->bytes > 0 && take(driver, charge->slot, charge->bytes) != 0;
}

struct charge charge_current(const struct cuda_functions *driver, uint64_t bytes)
{
    struct charge charge = {.slot = SESSION_NO_SLOT};

    if (session_start() && devices_current(driver, &charge.device, &charge.context))
        charge_slot(driver, &charge, bytes);
    return charge;
}

struct charge charge_device(const struct cuda_functions *driver, CUdevice device, uint64_t bytes)
{
    struct charge charge = {.slot = SESSION_NO_SLOT, .device = device};

    if (session_start())
        charge_slot(driver, &charge, bytes);
    return charge;
}

void charge_correct(struct charge *charge, uint64_t bytes)
{
    const uint64_t rounded = round_up(bytes);

    if (charge->slot == SESSION_NO_SLOT)
        return;
    if (rounded > charge->bytes)
        session_charge(charge->slot, rounded - charge->bytes);
    else if (rounded < charge->bytes)
        session_give(charge->slot, charge->bytes - rounded);
    charge->bytes = rounded;
}

/* The charge of an entry; the others are charged elsewhere. */
static bool has_charge(enum allocation_kind kind)
{
    return kind == ALLOCATION_MEMORY || kind == ALLOCATION_ARRAY || kind == ALLOCATION_MIPMAP ||
           kind == ALLOCATION_MODULE;
}

static void give_back(const struct allocated *entry)
{
    if (has_charge(entry->kind) && entry->bytes > 0)
        session_give(entry->slot, entry->bytes);
    if (entry->kind == ALLOCATION_MODULE && entry->grown_bytes > 0)
        session_shrank(entry->slot, entry->grown_bytes);
}

void charge_put(const struct allocated *entry)
{
    struct allocated older;

    if (allocations_put(entry, &older))
        give_back(&older);
}

void charge_note(const struct charge *charge, enum allocation_kind kind, uint64_t key)
{
    const struct allocated entry = {.kind = kind,
                                    .slot = charge->slot,
                                    .device = charge->device,
                                    .key = key,
                                    .bytes = charge->bytes,
                                    .owner = (uintptr_t)charge->context};

    charge_put(&entry);
}

CUresult charge_end(const struct charge *charge, CUresult r, enum allocation_kind kind,
                    uint64_t key)
{
    if (charge->slot == SESSION_NO_SLOT || charge->is_denied)
        return r;
    if (r == CUDA_SUCCESS)
        charge_note(charge, kind, key);
    else
        session_give(charge->slot, charge->bytes);
    return r;
}

/* A pool is charged as a whole, until it is destroyed: then what is left of it, each by itself. */
static void pooled_freed(const struct allocated *entry)
{
    const struct cuda_functions *driver = driver_get();
    struct growth_source source;

    growth_freed();
    if (driver && entry->owner && growth_find((CUmemoryPool)(uintptr_t)entry->owner, &source))
        growth_look(driver, &source);
    else
        session_give(entry->slot, entry->bytes);
}

void charge_freed(const struct allocated *entry, bool is_freed)
{
    struct allocated older;

    if (!is_freed)
        allocations_put(entry, &older);
    else if (entry->kind == ALLOCATION_POOLED)
        pooled_freed(entry);
    else
        give_back(entry);
}

void charge_free_all(allocations_match_fn *match, const void *userdata)
{
    size_t n;
    struct allocated *entries = allocations_list(match, userdata, &n);

    for (size_t i = 0; i < n; i++)
        if (allocations_take_same(&entries[i]))
            charge_freed(&entries[i], true);
    free(entries);
}
