// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which sharing entry takes which GPU.
 *
 * A GPU is taken once: by MPS before time slicing, because that is what NVIDIA's plugin does with
 * both (silently), and among entries of one strategy by the first in the file. The later entry
 * keeps those of its GPUs that are free. A GPU that two entries reach is an error, because no
 * reading of the file makes both true; it is said here only where the file alone does not show it
 * (see select.h).
 */

#include <stddef.h>

#include "base/problem.h"
#include "slice/plan.h"

/*
 * gpus: the plan's, sorted by index, with base and left_out set. ret_assigned[n_gpus] gets the entry
 * of each GPU, borrowed from policy, or NULL. 0 or -ENOMEM.
 */
int assign_gpus(const struct policy *policy, const struct plan_gpu *gpus, size_t n_gpus,
               struct problems *problems, const struct sharing_entry **ret_assigned);
