// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Where devices write to the process's page of claims: each context has a mapping of its own, which
 * is registered there. What is registered ends with its context, and what is in the streams of
 * others has still to be written.
 *
 * Mappings are never undone. That of a context that ended is the next one's. No lock is held across
 * a call of the driver's; a forked child has no mapping, and starts over.
 */

#include <stdbool.h>

#include "limits/claims.h"
#include "shim/driver.h"

typedef bool claimmaps_match_fn(CUcontext context, CUdevice device, const void *userdata);

/* The address of the page for devices, in a context that is current to the calling thread.
 * CUDA_ERROR_INVALID_CONTEXT: it is not, or there are too many. */
CUresult claimmaps_find(const struct cuda_functions *driver, CUcontext context, CUdevice device,
                        struct claims *claims, CUdeviceptr *ret_at);

/* The driver has refused an address: it is registered again the next time. */
void claimmaps_renew(CUcontext context);

/* Contexts have ended. */
void claimmaps_end_contexts(claimmaps_match_fn *match, const void *userdata);
