// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Allocations of a context. */

#include "cuda/address.h"
#include "cuda/context.h"

/* Device memory of a context, of which small pieces share granules. */
CUresult memory_allocate(CUcontext context, uint64_t bytes, CUdeviceptr *ret_address);

/* Waits for what may use a range: all work of its context. NULL if another thread freed it
 * meanwhile. */
struct range *memory_await(struct range *range);

/* Does so, and frees it. */
CUresult memory_free(struct range *range);
