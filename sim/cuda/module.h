// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Modules: any image is taken. One that is PTX has the kernels that its text names; of others
 * nothing is known, and each name is a kernel of theirs.
 *
 * The variables that its text declares (.global) take memory of the device from when it is loaded
 * until it is unloaded, or its context ends. Those of a library's do so where it is first used.
 */

#include "cuda/cuda.h"

/* Of no context. CUDA_ERROR_OUT_OF_MEMORY, or CUDA_ERROR_FILE_NOT_FOUND. */
CUresult module_new(const char *image, CUmodule *to);
CUresult module_read(const char *path, CUmodule *to);

/* Its variables get memory in the current context, unless they have some. */
CUresult module_place(CUmodule module);
