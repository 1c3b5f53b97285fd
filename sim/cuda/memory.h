// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Allocations of a context. */

#include "cuda/address.h"
#include "cuda/context.h"

/* Device memory of a context, of which small pieces share granules. */
CUresult memory_allocate(CUcontext context, uint64_t bytes, CUdeviceptr *ret_address);
