// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Pieces of larger chunks of device memory: small allocations of a context, and all of a pool. A
 * chunk is charged whole.
 */

#include <stddef.h>
#include <stdint.h>

#include "cuda/cuda.h"

struct arena {
    struct cuda_device *device;
    uint64_t unit;        /* pieces are multiples of this */
    uint64_t chunk_bytes; /* a chunk is a multiple of this, and as large as its first piece */
    uint64_t reserved, used;
    uint64_t reserved_high, used_high;
    struct chunk **chunks;
    size_t n_chunks, capacity;
};

CUresult arena_take(struct arena *arena, uint64_t bytes, CUdeviceptr *ret_address);
void arena_give(struct arena *arena, CUdeviceptr address);

/* Gives empty chunks back, as long as more than so many bytes are reserved. */
void arena_trim(struct arena *arena, uint64_t keep_bytes);

/* Everything, whether it is in use or not. */
void arena_deinit(struct arena *arena);

/* The physical memory that an address lies in, and where there. */
struct physical *arena_physical(const struct arena *arena, CUdeviceptr address,
                                uint64_t *ret_offset);
