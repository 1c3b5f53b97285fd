// SPDX-License-Identifier: Apache-2.0
#include "shim/claimmaps.h"

#include <string.h>
#include <sys/mman.h>

#include "shim/ownlock.h"

enum {
    MAPS_MAX = 512, /* contexts, for each arbiter that there was meanwhile */
    REGISTER_PORTABLE = 1,
    REGISTER_DEVICEMAP = 2,
};

struct claimmap {
    struct claims *claims; /* NULL: never used */
    CUcontext context;     /* NULL: it has ended */
    CUdevice device;
    void *memory; /* another mapping of the claims */
    bool is_registered;
};

static struct ownlock lock = OWNLOCK_NEW;
static struct claimmap maps[MAPS_MAX];

static void enter(void)
{
    if (ownlock_enter(&lock))
        memset(maps, 0, sizeof(maps));
}

/* Not for children either. */
static void *map_again(struct claims *claims)
{
    void *memory = mremap(claims, 0, CLAIMS_SIZE, MREMAP_MAYMOVE);

    if (memory == MAP_FAILED)
        return NULL;
    if (madvise(memory, CLAIMS_SIZE, MADV_DONTFORK) == 0)
        return memory;
    munmap(memory, CLAIMS_SIZE); /* the driver does not know it yet */
    return NULL;
}

/* One of the same claims if there is any, or one that was never used. */
static struct claimmap *find_free(const struct claims *claims)
{
    struct claimmap *unused = NULL;

    for (struct claimmap *map = maps; map < maps + MAPS_MAX; map++) {
        if (map->claims == claims && !map->context)
            return map;
        if (!map->claims && !unused)
            unused = map;
    }
    return unused;
}

static struct claimmap *add(CUcontext context, CUdevice device, struct claims *claims)
{
    struct claimmap *map = find_free(claims);

    if (!map || (!map->memory && !(map->memory = map_again(claims))))
        return NULL;
    map->claims = claims;
    map->context = context;
    map->device = device;
    map->is_registered = false;
    return map;
}

static struct claimmap *find(CUcontext context, const struct claims *claims)
{
    for (struct claimmap *map = maps; map < maps + MAPS_MAX && map->claims; map++)
        if (map->context == context && map->claims == claims)
            return map;
    return NULL;
}

/* While another thread captures, too. */
static CUresult call_register(const struct cuda_functions *driver, void *memory)
{
    cuda_cuMemHostRegister_v2 *call =
        driver->cuMemHostRegister_v2 ? driver->cuMemHostRegister_v2 : driver->cuMemHostRegister;
    CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
    CUresult r = CUDA_ERROR_NOT_SUPPORTED;
    bool is_relaxed;

    if (!driver->cuMemHostGetDevicePointer_v2)
        return r;
    is_relaxed = driver->cuThreadExchangeStreamCaptureMode &&
                 driver->cuThreadExchangeStreamCaptureMode(&mode) == CUDA_SUCCESS;
    if (call)
        r = call(memory, CLAIMS_SIZE, REGISTER_PORTABLE | REGISTER_DEVICEMAP);
    if (is_relaxed)
        driver->cuThreadExchangeStreamCaptureMode(&mode);
    return r == CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED ? CUDA_SUCCESS : r;
}

static bool is_current(const struct cuda_functions *driver, CUcontext context)
{
    CUcontext current = NULL;

    return driver->cuCtxGetCurrent && driver->cuCtxGetCurrent(&current) == CUDA_SUCCESS &&
           current == context;
}

static void set_registered(CUcontext context, const struct claims *claims)
{
    struct claimmap *map;

    enter();
    map = find(context, claims);
    if (map)
        map->is_registered = true;
    ownlock_leave(&lock);
}

CUresult claimmaps_find(const struct cuda_functions *driver, CUcontext context, CUdevice device,
                        struct claims *claims, CUdeviceptr *ret_at)
{
    struct claimmap *map, copy = {.memory = NULL};
    CUresult r = CUDA_SUCCESS;

    if (!is_current(driver, context))
        return CUDA_ERROR_INVALID_CONTEXT;
    enter();
    map = find(context, claims);
    if (!map)
        map = add(context, device, claims);
    if (map)
        copy = *map;
    ownlock_leave(&lock);
    if (!copy.memory)
        return CUDA_ERROR_INVALID_CONTEXT;
    if (!copy.is_registered) {
        r = call_register(driver, copy.memory);
        if (r != CUDA_SUCCESS)
            return r;
        set_registered(context, claims);
    }
    return driver->cuMemHostGetDevicePointer_v2(ret_at, copy.memory, 0);
}

void claimmaps_renew(CUcontext context)
{
    enter();
    for (struct claimmap *map = maps; map < maps + MAPS_MAX && map->claims; map++)
        if (map->context == context)
            map->is_registered = false;
    ownlock_leave(&lock);
}

void claimmaps_end_contexts(claimmaps_match_fn *match, const void *userdata)
{
    enter();
    for (struct claimmap *map = maps; map < maps + MAPS_MAX && map->claims; map++)
        if (map->context && match(map->context, map->device, userdata))
            map->context = NULL;
    ownlock_leave(&lock);
}
