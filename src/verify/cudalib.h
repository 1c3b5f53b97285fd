// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The CUDA driver as any program finds it: by dlopen and dlsym, with our own declarations. */

#include "base/error.h"
#include "shim/cuda-abi.h"

struct cudalib {
#define CUDA_CALL(name, asked, since, variant, arguments, values)        CUresult(*name) arguments;
#define CUDA_SAME(name, other, asked, since, variant, arguments, values) CUresult(*name) arguments;
#include "shim/cuda-calls.def"
#undef CUDA_CALL
#undef CUDA_SAME
};

/* What a driver lacks is NULL. 0, or a negative errno if there is no libcuda.so.1. It stays loaded.
 */
int cudalib_load(struct cudalib *ret_lib, struct error *err);
