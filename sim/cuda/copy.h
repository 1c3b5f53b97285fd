// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Copies and fills: the only work that has results. */

#include "cuda/stream.h"

/* A fill as work. CUDA_ERROR_INVALID_VALUE: it is not all in one allocation. */
CUresult copy_fill_work(const CUDA_MEMSET_NODE_PARAMS *fill, struct work *ret_work);
