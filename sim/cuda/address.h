// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Every range of addresses that a program may pass as a pointer, and what it is. */

#include "cuda/cuda.h"

struct arena;
struct physical;

enum range_kind {
    RANGE_DEVICE, /* cuMemAlloc and its kin: of an arena, or a mapping of its own */
    RANGE_POOL,   /* cuMemAllocAsync */
    RANGE_MANAGED,
    RANGE_VIRTUAL, /* cuMemMap */
    RANGE_IMPORT,  /* cuIpcOpenMemHandle */
    RANGE_HOST,    /* cuMemHostAlloc */
    RANGE_REGISTERED,
};

struct range {
    CUdeviceptr base;
    uint64_t size; /* as asked for */
    enum range_kind kind;
    unsigned flags;
    uint64_t id;
    CUcontext context; /* NULL: no context's */
    struct cuda_device *device;
    struct physical *physical;
    struct arena *arena;
    CUmemoryPool pool;
    uint64_t offset;                      /* VIRTUAL: in the physical memory */
    uint64_t resident_bytes;              /* MANAGED: on the device */
    bool is_writable, is_readable;        /* VIRTUAL */
    void (*release)(struct range *range); /* gives back what it has */
};

/* A range in the table; NULL without memory. `id` is set here. */
struct range *address_add(const struct range *range);

/* The range that contains an address, or begins there; NULL if there is none. */
struct range *address_find(CUdeviceptr address);
struct range *address_find_begin(CUdeviceptr address);

/* The first range from `address` on. */
struct range *address_next(CUdeviceptr address);

/* Releases a range and takes it out of the table. */
void address_free(struct range *range);

/* Does so with all ranges of a context. */
void address_end_context(CUcontext context);
