// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The part of the CUDA runtime API's binary interface that is acted out here, as CUDA 13.0 has it;
 * our own declarations. Results, streams, events, graphs, modes and attributes are the driver's, by
 * value.
 */

#include <stddef.h>

#include "shim/cuda-abi.h"

struct cudart_dim {
    unsigned x, y, z;
};

enum cudart_copy {
    CUDART_HOST_TO_HOST,
    CUDART_HOST_TO_DEVICE,
    CUDART_DEVICE_TO_HOST,
    CUDART_DEVICE_TO_DEVICE,
    CUDART_COPY_DEFAULT, /* as the addresses say */
};

struct cudart_launch {
    struct cudart_dim grid, block;
    size_t shared_bytes;
    CUstream stream;
    void *attributes;
    unsigned n_attributes;
};

/* cudaPointerAttributes */
struct cudart_pointer {
    int type; /* 0: of no kind that CUDA knows, 1: host, 2: device, 3: managed */
    int device;
    void *device_pointer, *host_pointer;
    long reserved[8];
};

/* cudaFuncAttributes */
struct cudart_function {
    size_t shared_bytes, const_bytes, local_bytes;
    int max_threads_per_block, registers, ptx_version, binary_version;
    int cache_mode, max_dynamic_shared_bytes, preferred_carveout;
    int cluster[6];
    int reserved[16];
};

/* cudaDeviceProp; what is not told here is 0. */
struct cudart_device {
    char name[256];
    CUuuid uuid;
    char luid[8];
    unsigned luid_mask;
    size_t total_bytes, shared_per_block;
    int registers_per_block, warp_size;
    size_t max_pitch;
    int max_threads_per_block, max_block[3], max_grid[3];
    size_t constant_bytes;
    int major, minor;
    size_t texture_alignment, texture_pitch_alignment;
    int multiprocessors, integrated, can_map_host;
    int textures_and_surfaces[39];
    size_t surface_alignment;
    int concurrent_kernels, ecc, pci_bus, pci_device, pci_domain, tcc;
    int copy_engines, unified_addressing, bus_bits, l2_bytes, persisting_l2_bytes;
    int threads_per_multiprocessor, stream_priorities, global_l1, local_l1;
    size_t shared_per_multiprocessor;
    int registers_per_multiprocessor, managed, multi_gpu_board[2], host_atomics;
    int pageable_access, concurrent_managed, preemption, host_pointers, cooperative;
    size_t shared_per_block_optin;
    int host_page_tables, managed_from_host, blocks_per_multiprocessor, access_window;
    size_t reserved_shared_per_block;
    int rest[20];
    int reserved[56];
};
