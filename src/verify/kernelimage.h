// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Modules as PTX, which the driver compiles for whatever GPU it finds. */

#include <stdint.h>

#include "verify/cudalib.h"

/* An empty kernel, `nothing`, and a variable of any size; variable_bytes: 0 = none. CUDA's code. */
CUresult kernelimage_load(const struct cudalib *cuda, uint64_t variable_bytes,
                          CUmodule *ret_module);

/* A kernel that counts: spin_us(u32 us, u64 rounds, u64 address), of which the rounds take its time
 * on a GPU and `us` is its time on the simulator. It writes to the address once in 2^32 times. */
CUresult kernelimage_load_spin(const struct cudalib *cuda, CUmodule *ret_module);
