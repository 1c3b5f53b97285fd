// SPDX-License-Identifier: Apache-2.0
#pragma once

/* CUDA's devices and the session's slots; and which devices have a context of this process that
 * the arbiter knows of. */

#include <stdbool.h>

#include "shim/driver.h"

/* SESSION_NO_SLOT: nothing is limited there. */
int devices_slot(const struct cuda_functions *driver, CUdevice device);

/* Of the calling thread's context. False: it has none. */
bool devices_current(const struct cuda_functions *driver, CUdevice *ret_device,
                     CUcontext *ret_context);

/* A context is about to be created: 0 or SESSION_DENIED. Then it was, or was not. */
int devices_enter(CUdevice device, int slot);
void devices_entered(CUdevice device, int slot, bool is_created);

/* One was destroyed. */
void devices_left(CUdevice device, int slot);

/* There is a context, perhaps one that NVIDIA's runtime library made in a way of its own. */
void devices_note_context(CUdevice device, int slot);

/* Its primary context is to be made by the caller, and by nobody else: then true. */
bool devices_claim_primary(const struct cuda_functions *driver, CUdevice device);

/* It was not made after all. */
void devices_unclaim_primary(CUdevice device);

/* True once after it ended. */
bool devices_is_primary_gone(const struct cuda_functions *driver, CUdevice device);
