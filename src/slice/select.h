// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which GPUs the `devices:` of a sharing entry means: all of the entry's resource, a number of them
 * (lowest indices first), or those listed. What it means but cannot have is said.
 *
 * What the file alone decides is said once, by config/ when it reads the file; the plan asks the
 * same questions (the first two below) and says only what depends on the machine.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/problem.h"
#include "slice/plan.h"

/*
 * True when both entries are sure to reach a GPU in common, whatever the machine, as long as it has
 * the GPUs that they name. An index and a UUID may mean one GPU too, but only the machine knows.
 */
bool select_surely_overlap(const struct sharing_entry *a, const struct sharing_entry *b);

/* The first entry that takes every GPU of every machine, so that nothing is left; or NULL. */
const struct sharing_entry *select_find_taker_of_all(const struct policy *policy);

/*
 * gpus: the plan's, sorted by index, with base and left_out set. Sets each of reached[n_gpus].
 * MIG devices are not offered yet, so a reference to one reaches nothing and is said.
 */
void select_gpus(const struct sharing_entry *entry, const struct plan_gpu *gpus, size_t n_gpus,
                 struct problems *problems, bool *reached);

/* "GPU 3" or "GPUs 0, 1, 3": those whose `chosen` is set, cut with "..." when too long. */
void select_format(const struct plan_gpu *gpus, const bool *chosen, size_t n_gpus, char *buffer,
                   size_t size);
