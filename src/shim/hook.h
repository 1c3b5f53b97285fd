// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What programs call in place of the driver: every function of hooks.def, with the driver's name
 * and type.
 *
 * Each asks the driver's function of exactly that name, at once where nothing is limited. No lock
 * of ours is held across such a call, nothing waits for the GPU but a launch for its turn (gate.h),
 * and arguments are looked at only as far as the driver would.
 */

#include "limits/exchange.h"
#include "shim/await.h"
#include "shim/charge.h"
#include "shim/driver.h"

#pragma GCC visibility push(default)
#define HOOK(name)      cuda_##name name;
#define NVML_HOOK(name) nvml_##name name;
#include "shim/hooks.def"
#undef HOOK
#undef NVML_HOOK
#pragma GCC visibility pop

/* The driver gave out a handle of memory or of a pool, or opened it (handles.h). A descriptor that
 * it gave out is where `handle` points, one that it opened is the pointer itself. */
void hook_note_shareable(const struct cuda_functions *driver, enum exchange_side side,
                         CUmemAllocationHandleType type, const void *handle);

/* The driver's function of that name, or what to return without it. */
#define HOOK_DRIVER(ret_driver, name)             \
    do {                                          \
        (ret_driver) = driver_get();              \
        if (!(ret_driver) || !(ret_driver)->name) \
            return CUDA_ERROR_NOT_SUPPORTED;      \
    } while (0)

/* The whole of a function that allocates: `charged` says how much, *key is what was allocated. */
#define HOOK_ALLOCATION(name, charged, kind, key, values)                                 \
    do {                                                                                  \
        const struct cuda_functions *driver;                                              \
        struct charge charge;                                                             \
        CUresult r = CUDA_ERROR_OUT_OF_MEMORY;                                            \
                                                                                          \
        HOOK_DRIVER(driver, name);                                                        \
        charge = charged;                                                                 \
        if (!charge.is_denied)                                                            \
            r = driver->name values;                                                      \
        return charge_end(&charge, r, kind, r == CUDA_SUCCESS ? (uintptr_t) * (key) : 0); \
    } while (0)

/* And of one that frees it in the order of a stream. */
#define HOOK_FREE_ASYNC(name, kind, key, values)                         \
    do {                                                                 \
        const struct cuda_functions *driver;                             \
                                                                         \
        HOOK_DRIVER(driver, name);                                       \
        return CHARGE_FREE(kind, (uintptr_t)(key), driver->name values); \
    } while (0)

/* And of one that frees it at once, before which the driver may wait. */
#define HOOK_FREE(name, kind, key, values)                                  \
    do {                                                                    \
        const struct cuda_functions *driver;                                \
                                                                            \
        HOOK_DRIVER(driver, name);                                          \
        return CHARGE_FREE(kind, (uintptr_t)(key),                          \
                           AWAIT_PERHAPS_ALL(driver, driver->name values)); \
    } while (0)

/* The same of what is charged to nobody. */
#define HOOK_END(name, values)                                 \
    do {                                                       \
        const struct cuda_functions *driver;                   \
                                                               \
        HOOK_DRIVER(driver, name);                             \
        return AWAIT_PERHAPS_ALL(driver, driver->name values); \
    } while (0)
