// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Contexts: which one each thread works in, and what ends with it. */

#include "cuda/arena.h"
#include "cuda/cuda.h"
#include "cuda/engine.h"

enum { CONTEXT_HIGHEST = -5, /* priority of a stream */ CONTEXT_LIMITS = 3 };

struct CUctx_st {
    struct cuda_device *device;
    unsigned flags;
    unsigned n_retained; /* the primary one's */
    bool is_primary, is_alive;
    uint64_t id;
    size_t limits[CONTEXT_LIMITS];
    struct arena heap; /* small allocations */
    struct engine engine;
    CUstream streams; /* stream.h's, which ends them by this */
    void (*end_streams)(CUcontext context);
    void (*end_modules)(CUcontext context); /* module.h's */
    CUcontext next;
};

/* The calling thread's context. CUDA_ERROR_INVALID_CONTEXT without one,
 * CUDA_ERROR_CONTEXT_IS_DESTROYED if it was destroyed. */
CUresult context_current(CUcontext *ret_context);

/* The same, unless *context is one: then that, if it lives. */
CUresult context_given_or_current(CUcontext *context);
