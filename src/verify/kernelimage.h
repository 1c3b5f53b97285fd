// SPDX-License-Identifier: Apache-2.0
#pragma once

/* A module with an empty kernel, `nothing`, and a variable of any size: PTX, which the driver
 * compiles for whatever GPU it finds. */

#include <stdint.h>

#include "verify/cudalib.h"

/* variable_bytes: 0 = none. CUDA's code. */
CUresult kernelimage_load(const struct cudalib *cuda, uint64_t variable_bytes,
                          CUmodule *ret_module);
