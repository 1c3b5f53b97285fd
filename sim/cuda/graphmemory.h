// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Memory of graphs: an address that a node of a graph keeps, and memory there from the first
 * launch on until somebody trims.
 */

#include "cuda/stream.h"

/* Addresses for a node that allocates, and its work. CUDA_ERROR_INVALID_VALUE without a device. */
CUresult graphmemory_reserve(struct cuda_device *device, uint64_t bytes, CUdeviceptr *ret_address,
                             struct work *ret_work);

/* The work of a node that frees what another one allocates. */
CUresult graphmemory_free_work(CUdeviceptr address, struct work *ret_work);

/* Before a launch: memory for all works that allocate. CUDA_ERROR_OUT_OF_MEMORY: there is none;
 * CUDA_ERROR_INVALID_VALUE: what an earlier launch allocated was not freed. */
CUresult graphmemory_prepare(const struct work *works, size_t n);
