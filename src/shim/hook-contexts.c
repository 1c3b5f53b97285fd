// SPDX-License-Identifier: Apache-2.0

/*
 * Contexts: what one costs is charged before it is created, by the arbiter's figure, and from then
 * on by what the driver shows. What belongs to a context ends with it.
 */

#include <stdlib.h>

#include "shim/devices.h"
#include "shim/hook.h"
#include "shim/lanes.h"
#include "shim/session.h"

static bool has_owner(const struct allocated *entry)
{
    return entry->kind == ALLOCATION_MEMORY || entry->kind == ALLOCATION_ARRAY ||
           entry->kind == ALLOCATION_MIPMAP || entry->kind == ALLOCATION_MODULE;
}

static bool is_owned(const struct allocated *entry, const void *context)
{
    return has_owner(entry) && entry->owner == (uintptr_t)context;
}

static bool is_on_device(const struct allocated *entry, const void *device)
{
    return has_owner(entry) && entry->device == *(const CUdevice *)device;
}

/* All but what belongs to contexts that the program created. */
static void free_of_primary(CUdevice device)
{
    size_t n;
    struct allocated *entries = allocations_list(is_on_device, &device, &n);

    for (size_t i = 0; i < n; i++) {
        struct allocated context;

        if (!allocations_get(ALLOCATION_CONTEXT, entries[i].owner, &context) &&
            allocations_take_same(&entries[i]))
            charge_freed(&entries[i], true);
    }
    free(entries);
}

static bool is_primary(CUcontext context, CUdevice of, const void *device)
{
    struct allocated entry;

    return of == *(const CUdevice *)device &&
           !allocations_get(ALLOCATION_CONTEXT, (uintptr_t)context, &entry);
}

static bool is_same(CUcontext context, CUdevice device, const void *other)
{
    return context == other;
}

static int slot_of(const struct cuda_functions *driver, CUdevice device)
{
    return session_start() ? devices_slot(driver, device) : SESSION_NO_SLOT;
}

/* What the driver gave back by itself stands in no context's way. */
static bool may_enter(const struct cuda_functions *driver, CUdevice device, int slot)
{
    charge_reclaim(driver, slot);
    return devices_enter(device, slot) == 0;
}

/* --- the primary context --- */

struct primary {
    CUdevice device;
    int slot;
    bool is_claimed, is_denied;
};

static struct primary before_primary(const struct cuda_functions *driver, CUdevice device)
{
    struct primary primary = {.device = device, .slot = slot_of(driver, device)};

    primary.is_claimed = primary.slot != SESSION_NO_SLOT && devices_claim_primary(driver, device);
    primary.is_denied = primary.is_claimed && !may_enter(driver, device, primary.slot);
    if (primary.is_denied)
        devices_unclaim_primary(device);
    return primary;
}

static CUresult after_primary(const struct primary *primary, CUresult r)
{
    if (!primary->is_claimed || primary->is_denied)
        return r;
    devices_entered(primary->device, primary->slot, r == CUDA_SUCCESS);
    if (r != CUDA_SUCCESS)
        devices_unclaim_primary(primary->device);
    return r;
}

/* The whole of a function that makes it, if nobody has. */
#define PRIMARY(name, device, values)                                                             \
    do {                                                                                          \
        const struct cuda_functions *driver;                                                      \
        struct primary primary;                                                                   \
                                                                                                  \
        HOOK_DRIVER(driver, name);                                                                \
        primary = before_primary(driver, device);                                                 \
        return after_primary(&primary,                                                            \
                             primary.is_denied ? CUDA_ERROR_OUT_OF_MEMORY : driver->name values); \
    } while (0)

CUresult cuDevicePrimaryCtxRetain(CUcontext *pctx, CUdevice dev)
{
    PRIMARY(cuDevicePrimaryCtxRetain, dev, (pctx, dev));
}

/* It keeps the primary context as long as it lives. */
CUresult cuGreenCtxCreate(CUgreenCtx *phCtx, CUdevResourceDesc desc, CUdevice dev, unsigned flags)
{
    PRIMARY(cuGreenCtxCreate, dev, (phCtx, desc, dev, flags));
}

static void primary_may_be_gone(const struct cuda_functions *driver, CUdevice device)
{
    const int slot = slot_of(driver, device);

    if (slot == SESSION_NO_SLOT || !devices_is_primary_gone(driver, device))
        return;
    devices_left(device, slot);
    lanes_end_contexts(is_primary, &device);
    free_of_primary(device);
}

/* The whole of a function that may end it. */
#define END_OF_PRIMARY(name, device)                         \
    do {                                                     \
        const struct cuda_functions *driver;                 \
        CUresult r;                                          \
                                                             \
        HOOK_DRIVER(driver, name);                           \
        r = AWAIT_PERHAPS_ALL(driver, driver->name(device)); \
        if (r == CUDA_SUCCESS)                               \
            primary_may_be_gone(driver, device);             \
        return r;                                            \
    } while (0)

CUresult cuDevicePrimaryCtxRelease(CUdevice dev)
{
    END_OF_PRIMARY(cuDevicePrimaryCtxRelease, dev);
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice dev)
{
    END_OF_PRIMARY(cuDevicePrimaryCtxRelease_v2, dev);
}

CUresult cuDevicePrimaryCtxReset(CUdevice dev)
{
    END_OF_PRIMARY(cuDevicePrimaryCtxReset, dev);
}

CUresult cuDevicePrimaryCtxReset_v2(CUdevice dev)
{
    END_OF_PRIMARY(cuDevicePrimaryCtxReset_v2, dev);
}

/* A green one takes few MiB, which the driver shows, and may be the last to hold a primary one. */
CUresult cuGreenCtxDestroy(CUgreenCtx hCtx)
{
    const struct cuda_functions *driver;
    CUdevice device = 0;
    CUresult r;
    int n = 0;

    HOOK_DRIVER(driver, cuGreenCtxDestroy);
    r = AWAIT_PERHAPS_ALL(driver, driver->cuGreenCtxDestroy(hCtx));
    if (r != CUDA_SUCCESS || !session_start() || driver->cuDeviceGetCount(&n) != CUDA_SUCCESS)
        return r;
    for (int i = 0; i < n; i++)
        if (driver->cuDeviceGet(&device, i) == CUDA_SUCCESS)
            primary_may_be_gone(driver, device);
    return r;
}

/* --- contexts of the program's own --- */

static CUresult created(CUdevice device, int slot, CUresult r, const CUcontext *context)
{
    const struct charge charge = {.slot = slot, .device = device};

    if (slot == SESSION_NO_SLOT)
        return r;
    devices_entered(device, slot, r == CUDA_SUCCESS);
    return r == CUDA_SUCCESS ? charge_end(&charge, r, ALLOCATION_CONTEXT, (uintptr_t)*context) : r;
}

#define CREATION(name, device, context, values)                          \
    do {                                                                 \
        const struct cuda_functions *driver;                             \
        int slot;                                                        \
                                                                         \
        HOOK_DRIVER(driver, name);                                       \
        slot = slot_of(driver, device);                                  \
        if (slot != SESSION_NO_SLOT && !may_enter(driver, device, slot)) \
            return CUDA_ERROR_OUT_OF_MEMORY;                             \
        return created(device, slot, driver->name values, context);      \
    } while (0)

CUresult cuCtxCreate(CUcontext *pctx, unsigned flags, CUdevice dev)
{
    CREATION(cuCtxCreate, dev, pctx, (pctx, flags, dev));
}

CUresult cuCtxCreate_v2(CUcontext *pctx, unsigned flags, CUdevice dev)
{
    CREATION(cuCtxCreate_v2, dev, pctx, (pctx, flags, dev));
}

CUresult cuCtxCreate_v3(CUcontext *pctx, CUexecAffinityParam *paramsArray, int numParams,
                        unsigned flags, CUdevice dev)
{
    CREATION(cuCtxCreate_v3, dev, pctx, (pctx, paramsArray, numParams, flags, dev));
}

CUresult cuCtxCreate_v4(CUcontext *pctx, CUctxCreateParams *ctxCreateParams, unsigned flags,
                        CUdevice dev)
{
    CREATION(cuCtxCreate_v4, dev, pctx, (pctx, ctxCreateParams, flags, dev));
}

static void destroyed(const struct allocated *context)
{
    devices_left(context->device, context->slot);
    lanes_end_contexts(is_same, (const void *)(uintptr_t)context->key);
    charge_free_all(is_owned, (const void *)(uintptr_t)context->key);
}

#define DESTRUCTION(name, context)                                                     \
    do {                                                                               \
        const struct cuda_functions *driver;                                           \
        struct allocated entry;                                                        \
        bool is_known;                                                                 \
        CUresult r;                                                                    \
                                                                                       \
        HOOK_DRIVER(driver, name);                                                     \
        is_known = allocations_take(ALLOCATION_CONTEXT, (uintptr_t)(context), &entry); \
        r = AWAIT_PERHAPS_ALL(driver, driver->name(context));                          \
        if (is_known && r == CUDA_SUCCESS)                                             \
            destroyed(&entry);                                                         \
        else if (is_known)                                                             \
            charge_freed(&entry, false);                                               \
        return r;                                                                      \
    } while (0)

CUresult cuCtxDestroy(CUcontext ctx)
{
    DESTRUCTION(cuCtxDestroy, ctx);
}

CUresult cuCtxDestroy_v2(CUcontext ctx)
{
    DESTRUCTION(cuCtxDestroy_v2, ctx);
}

CUresult cuCtxDetach(CUcontext ctx)
{
    DESTRUCTION(cuCtxDetach, ctx);
}
