// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Physical memory of a device: charged to this process while it exists, and backed by a range of a
 * sparse file without a name, so that the host gives pages only for what is written. It has an
 * address where it is mapped: nowhere, once, or in several places and processes.
 */

#include <stdint.h>

#include "cuda/cuda.h"

struct physical {
    unsigned n_users;
    int fd;
    bool owns_fd;    /* else it is the file of all */
    bool is_foreign; /* another process's, and charged there */
    uint64_t offset, size;
    struct cuda_device *device;
    CUmemAllocationHandleType handle_type;
};

/* Whole granules of a device. `can_share`: in a file of its own. */
CUresult physical_new(struct cuda_device *device, uint64_t bytes, bool can_share,
                      struct physical **ret_physical);

/* What another process has: takes the file, if it succeeds. */
CUresult physical_open(struct cuda_device *device, int fd, uint64_t offset, uint64_t size,
                       struct physical **ret_physical);

/* Each descriptor of memory that is given out is an open file of its own. Negative if it fails. */
int physical_open_again(int fd);

struct physical *physical_get(struct physical *physical);
void physical_put(struct physical *physical);

/* A mapping of `size` bytes from `offset`: at an address that is reserved, or (0) at any. 0 if it
 * fails. */
CUdeviceptr physical_map(const struct physical *physical, uint64_t offset, uint64_t size,
                         CUdeviceptr address, int protection);

/* Addresses of whole granules without memory; 0 if there are none. */
CUdeviceptr physical_reserve(uint64_t size);
/* Takes a mapping away, and keeps its addresses. */
void physical_unmap(CUdeviceptr address, uint64_t size);

void physical_unreserve(CUdeviceptr address, uint64_t size);
