// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which GPUs the `devices:` of a sharing entry means: all of the entry's resource, a number of them
 * (lowest indices first), or those listed. What it means but cannot have is said.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/problem.h"
#include "slice/plan.h"

/*
 * gpus: the plan's, sorted by index, with base and left_out set. Sets each of reached[n_gpus].
 * MIG devices are not offered yet, so a reference to one reaches nothing and is said.
 */
void select_gpus(const struct sharing_entry *entry, const struct plan_gpu *gpus, size_t n_gpus,
                 struct problems *problems, bool *reached);

/* "GPU 3" or "GPUs 0, 1, 3": those whose `chosen` is set, cut with "..." when too long. */
void select_format(const struct plan_gpu *gpus, const bool *chosen, size_t n_gpus, char *buffer,
                   size_t size);
