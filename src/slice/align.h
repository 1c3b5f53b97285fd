// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which whole GPUs go together best.
 *
 * A pair scores by its nearest common PCIe ancestor (10 across CPUs ... 60 on one board) plus 100
 * for each NVLink, the scale of NVIDIA's allocator. GPUs on an NVSwitch are linked with each other
 * by as many NVLinks as the poorer of the two has. The best set has the highest sum over its pairs;
 * among equals the one that leaves the highest sum to the GPUs that stay free; then the lowest
 * positions.
 *
 * Up to ALIGN_EXACT_MAX free GPUs every set is looked at (12 870 at most); beyond, a set grown from
 * each GPU is improved by exchanges of one for one, at most n of them: polynomial (n^5 at worst,
 * n^4 as a rule), and it may miss the best.
 */

#include <stdbool.h>
#include <stddef.h>

#include "slice/inventory.h"

enum { ALIGN_EXACT_MAX = 16 };

unsigned align_score(const struct gpu *a, const struct gpu *b, struct gpu_link link);

/*
 * scores: a symmetric matrix of (n_free + n_required) GPUs, the free ones first. Sets n_wanted of
 * ret_chosen[n_free]; the required ones belong to the set anyway. n_wanted <= n_free. 0 or -ENOMEM.
 */
int align_choose(const unsigned *scores, size_t n_free, size_t n_required, size_t n_wanted,
                 bool *ret_chosen);
