// SPDX-License-Identifier: Apache-2.0

/*
 * What a program sees: the slice, where a limit is enforced. Never more than the driver says.
 */

#include "shim/devices.h"
#include "shim/growth.h"
#include "shim/hook.h"
#include "shim/session.h"

static size_t smaller(size_t a, uint64_t b)
{
    return b < a ? (size_t)b : a;
}

/* With what the driver gave back meanwhile. */
static bool is_limited(const struct cuda_functions *driver, CUdevice device,
                       struct session_view *ret_view)
{
    const int slot = devices_slot(driver, device);

    if (slot == SESSION_NO_SLOT)
        return false;
    growth_look_at_all(driver, slot);
    *ret_view = session_see(slot);
    return ret_view->is_limited;
}

CUresult cuMemGetInfo_v2(size_t *free, size_t *total)
{
    const struct cuda_functions *driver;
    struct session_view view;
    CUcontext context;
    CUdevice device;
    CUresult r;

    HOOK_DRIVER(driver, cuMemGetInfo_v2);
    r = driver->cuMemGetInfo_v2(free, total);
    if (r != CUDA_SUCCESS || !session_start() || !devices_current(driver, &device, &context) ||
        !is_limited(driver, device, &view))
        return r;
    *total = smaller(*total, view.limit_bytes);
    *free = smaller(*free, view.free_bytes);
    return r;
}

CUresult cuMemGetInfo(unsigned *free, unsigned *total)
{
    const struct cuda_functions *driver;
    struct session_view view;
    CUcontext context;
    CUdevice device;
    CUresult r;

    HOOK_DRIVER(driver, cuMemGetInfo);
    r = driver->cuMemGetInfo(free, total);
    if (r != CUDA_SUCCESS || !session_start() || !devices_current(driver, &device, &context) ||
        !is_limited(driver, device, &view))
        return r;
    *total = (unsigned)smaller(*total, view.limit_bytes);
    *free = (unsigned)smaller(*free, view.free_bytes);
    return r;
}

CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice dev)
{
    const struct cuda_functions *driver;
    struct session_view view;
    CUresult r;

    HOOK_DRIVER(driver, cuDeviceTotalMem_v2);
    r = driver->cuDeviceTotalMem_v2(bytes, dev);
    if (r == CUDA_SUCCESS && session_start() && is_limited(driver, dev, &view))
        *bytes = smaller(*bytes, view.limit_bytes);
    return r;
}

CUresult cuDeviceTotalMem(unsigned *bytes, CUdevice dev)
{
    const struct cuda_functions *driver;
    struct session_view view;
    CUresult r;

    HOOK_DRIVER(driver, cuDeviceTotalMem);
    r = driver->cuDeviceTotalMem(bytes, dev);
    if (r == CUDA_SUCCESS && session_start() && is_limited(driver, dev, &view))
        *bytes = (unsigned)smaller(*bytes, view.limit_bytes);
    return r;
}
