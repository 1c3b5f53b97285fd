// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One allocation: charged before the driver is asked, noted when it has given it, and given back
 * when it has not.
 *
 *     struct charge charge = charge_current(driver, bytes);
 *     CUresult r = charge.is_denied ? CUDA_ERROR_OUT_OF_MEMORY : driver->...;
 *
 *     return charge_end(&charge, r, ALLOCATION_MEMORY, address);
 */

#include <stdbool.h>
#include <stdint.h>

#include "shim/allocations.h"
#include "shim/driver.h"

struct charge {
    int slot; /* SESSION_NO_SLOT: it is not counted */
    CUdevice device;
    CUcontext context; /* NULL: it belongs to none */
    uint64_t bytes;
    bool is_denied;
};

/* On the device of the calling thread's context, which owns it. */
struct charge charge_current(const struct cuda_functions *driver, uint64_t bytes);

/* On a device, without a context. */
struct charge charge_device(const struct cuda_functions *driver, CUdevice device, uint64_t bytes);

/* Returns r. `key` counts if r is CUDA_SUCCESS. */
CUresult charge_end(const struct charge *charge, CUresult r, enum allocation_kind kind,
                    uint64_t key);

/* The last of its steps alone: the driver has given it. */
void charge_note(const struct charge *charge, enum allocation_kind kind, uint64_t key);

/* The same of an entry that is charged elsewhere: what an older one of its key had is given back.
 */
void charge_put(const struct allocated *entry);

/* It is larger, or smaller, than was thought. */
void charge_correct(struct charge *charge, uint64_t bytes);

/* Frees by `call`, which is evaluated once. */
#define CHARGE_FREE(kind, key, call)                                     \
    ({                                                                   \
        struct allocated _entry;                                         \
        const bool _is_known = allocations_take((kind), (key), &_entry); \
        const CUresult _result = (call);                                 \
                                                                         \
        if (_is_known)                                                   \
            charge_freed(&_entry, _result == CUDA_SUCCESS);              \
        _result;                                                         \
    })

/* What was taken out of the table is given back, or noted again. */
void charge_freed(const struct allocated *entry, bool is_freed);

/* Gives back all that matches. */
void charge_free_all(allocations_match_fn *match, const void *userdata);

/* Makes room of what this process has freed, or the driver has, without the session being told. */
void charge_reclaim(const struct cuda_functions *driver, int slot);
