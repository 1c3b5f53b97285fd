// SPDX-License-Identifier: Apache-2.0
#include "shim/devices.h"

#include <string.h>

#include "shim/ownlock.h"
#include "shim/session.h"

enum { DEVICES_MAX = 64 }; /* that are remembered; more are asked for each time */

static struct ownlock lock = OWNLOCK_NEW;

static struct device {
    int slot_plus_1;  /* 0 = not known */
    unsigned n_told;  /* contexts */
    bool has_primary; /* claimed */
} devices[DEVICES_MAX];

static void enter(void)
{
    if (ownlock_enter(&lock))
        memset(devices, 0, sizeof(devices));
}

static struct device *device_at(CUdevice device)
{
    static struct device nowhere;

    return device >= 0 && device < DEVICES_MAX ? &devices[device] : &nowhere;
}

static int find_slot(const struct cuda_functions *driver, CUdevice device)
{
    cuda_cuDeviceGetUuid *get =
        driver->cuDeviceGetUuid_v2 ? driver->cuDeviceGetUuid_v2 : driver->cuDeviceGetUuid;
    CUuuid uuid;

    if (!get || get(&uuid, device) != CUDA_SUCCESS)
        return SESSION_NO_SLOT;
    return session_find((const uint8_t *)uuid.bytes);
}

int devices_slot(const struct cuda_functions *driver, CUdevice device)
{
    const bool is_kept = device >= 0 && device < DEVICES_MAX;
    int slot;

    enter();
    slot = device_at(device)->slot_plus_1 - 1;
    ownlock_leave(&lock);
    if (is_kept && slot >= 0)
        return slot;
    slot = find_slot(driver, device);
    enter();
    device_at(device)->slot_plus_1 = is_kept ? slot + 1 : 0;
    ownlock_leave(&lock);
    return slot;
}

bool devices_current(const struct cuda_functions *driver, CUdevice *ret_device,
                     CUcontext *ret_context)
{
    *ret_context = NULL;
    return driver->cuCtxGetCurrent && driver->cuCtxGetDevice &&
           driver->cuCtxGetCurrent(ret_context) == CUDA_SUCCESS && *ret_context &&
           driver->cuCtxGetDevice(ret_device) == CUDA_SUCCESS;
}

static void count(CUdevice device, int change)
{
    enter();
    device_at(device)->n_told += (unsigned)change;
    ownlock_leave(&lock);
}

int devices_enter(CUdevice device, int slot)
{
    const int r = session_enter(slot);

    if (r == 0)
        count(device, 1);
    return r;
}

void devices_entered(CUdevice device, int slot, bool is_created)
{
    if (is_created)
        session_entered(slot);
    else
        devices_left(device, slot);
}

void devices_left(CUdevice device, int slot)
{
    session_left(slot);
    count(device, -1);
}

void devices_note_context(CUdevice device, int slot)
{
    bool is_first;

    enter();
    is_first = device_at(device)->n_told == 0;
    if (is_first) {
        device_at(device)->n_told++;
        device_at(device)->has_primary = true;
    }
    ownlock_leave(&lock);
    if (is_first && session_enter(slot) == 0)
        session_entered(slot);
}

static bool is_active(const struct cuda_functions *driver, CUdevice device)
{
    unsigned flags;
    int active = 0;

    return driver->cuDevicePrimaryCtxGetState &&
           driver->cuDevicePrimaryCtxGetState(device, &flags, &active) == CUDA_SUCCESS && active;
}

bool devices_claim_primary(const struct cuda_functions *driver, CUdevice device)
{
    bool is_claimed;

    if (is_active(driver, device))
        return false;
    enter();
    is_claimed = !device_at(device)->has_primary;
    device_at(device)->has_primary = true;
    ownlock_leave(&lock);
    return is_claimed;
}

void devices_unclaim_primary(CUdevice device)
{
    enter();
    device_at(device)->has_primary = false;
    ownlock_leave(&lock);
}

bool devices_is_primary_gone(const struct cuda_functions *driver, CUdevice device)
{
    bool had;

    if (is_active(driver, device))
        return false;
    enter();
    had = device_at(device)->has_primary;
    device_at(device)->has_primary = false;
    ownlock_leave(&lock);
    return had;
}
