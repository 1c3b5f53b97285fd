// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Kernels: they take time and have no results.
 *
 * How long one takes: a kernel with the name spin_us takes as many microseconds as its first
 * parameter says, an unsigned int; every other one GPUSLICE_SIM_KERNEL_US, or no time.
 */

#include "cuda/stream.h"

struct CUfunc_st {
    char name[256];
    CUmodule module;
    CUresult (*place)(CUmodule module); /* it has to be in the current context for a launch */
    CUfunction next;
};

/* A launch as work. CUDA_ERROR_INVALID_HANDLE: it is no function; or why its module is not there.
 */
CUresult kernel_work(CUfunction function, void **parameters, struct work *ret_work);

/* The function of that name in a module; functions of a module end with it. */
CUresult kernel_find(CUmodule module, const char *name, CUresult (*place)(CUmodule module),
                     CUfunction *ret_function);
void kernel_end_module(CUmodule module);
