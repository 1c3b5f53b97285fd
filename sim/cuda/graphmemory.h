// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Memory of graphs: an address that a node of a graph keeps, and memory there from the first
 * launch or upload on until somebody trims. The device gives it in steps, as to pools.
 */

#include "cuda/stream.h"

/* Addresses for a node that allocates, and its work. CUDA_ERROR_INVALID_VALUE without a device. */
CUresult graphmemory_reserve(struct cuda_device *device, uint64_t bytes, CUdeviceptr *ret_address,
                             struct work *ret_work);

/* What such a node allocates. */
void graphmemory_describe(const struct work *work, CUDA_MEM_ALLOC_NODE_PARAMS *ret_parameters);

/* The work of a node that frees what another one allocates. */
CUresult graphmemory_free_work(CUdeviceptr address, struct work *ret_work);

/* Memory for all works that allocate. CUDA_ERROR_OUT_OF_MEMORY: there is none. */
CUresult graphmemory_upload(const struct work *works, size_t n);

/* The same before a launch. CUDA_ERROR_INVALID_VALUE: what an earlier one allocated was not freed.
 */
CUresult graphmemory_prepare(const struct work *works, size_t n);
