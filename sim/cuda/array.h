// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Arrays: memory without an address, here in rows one behind the other. */

#include "cuda/cuda.h"

/* Where the elements lie, and how: 0 if it is no array. */
CUdeviceptr array_elements(CUarray array, uint64_t *ret_pitch, uint64_t *ret_height);
