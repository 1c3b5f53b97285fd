// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The ways in which a program gets memory of a GPU: each takes bytes and can give them back. */

#include <stdint.h>

#include "verify/cudalib.h"

/* Where a call works: the primary context is current. */
struct family_site {
    const struct cudalib *cuda;
    CUdevice device;
    CUmemoryPool pool; /* of cuMemAllocFromPoolAsync; NULL until it is needed */
};

/* What was taken at once. */
struct family_piece {
    uint64_t bytes; /* as asked for */
    void *handles[2];
    CUdeviceptr address;
};

struct family {
    const char *name; /* of its main call */
    /* CUDA's code. CUDA_ERROR_NOT_SUPPORTED: the driver or the device has it not. */
    CUresult (*take)(struct family_site *site, uint64_t bytes, struct family_piece *ret_piece);
    CUresult (*give)(struct family_site *site, const struct family_piece *piece);
};

/* NULL = there is none of that name. */
const struct family *family_find(const char *name);
