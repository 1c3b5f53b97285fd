// SPDX-License-Identifier: Apache-2.0
#pragma once

/* How long calls of the driver take: one sample is the mean of a batch. */

#include <stdint.h>

#include "verify/cudalib.h"

enum { PACE_BATCH = 500 };

/* An empty kernel, launched alone or as a graph of one node; a batch is waited for outside of the
 * time. ret_ns has room for n_batches. CUDA's code. */
CUresult pace_launch(const struct cudalib *cuda, unsigned n_batches, double *ret_ns);
CUresult pace_graph(const struct cudalib *cuda, unsigned n_batches, double *ret_ns);

/* cuMemAlloc and cuMemFree, one pair. */
CUresult pace_alloc(const struct cudalib *cuda, uint64_t bytes, unsigned n_batches, double *ret_ns);
