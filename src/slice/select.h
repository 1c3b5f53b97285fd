// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which devices the `devices:` of a sharing entry selects: all of the entry's resource, a number of
 * them (in the plan's order), or those listed. Selected but unavailable devices are a problem.
 *
 * Problems that the file alone shows are reported once, by config/ when it reads the file; the plan
 * uses the same two functions (the first below) and reports only what depends on the machine.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/problem.h"
#include "slice/plan.h"

/*
 * True when both entries select a device in common on every machine that has the devices they name.
 * An index and a UUID may be one device too, but only the machine knows.
 */
bool select_surely_overlap(const struct sharing_entry *a, const struct sharing_entry *b);

/*
 * True for an entry for `all` after one that names whole GPUs (replicas: 1): it means the others,
 * so the two do not contradict each other.
 */
bool select_is_rest(const struct sharing_entry *winner, const struct sharing_entry *loser);

/* The first entry that selects every whole GPU of every machine, so that none is left; or NULL. */
const struct sharing_entry *select_find_taker_of_all(const struct policy *policy);

/* The device is offered, and has that name before sharing and renaming. */
bool select_is_called(const struct plan_device *on, const char *name);

/* The plan's devices have base and left_out set. Sets each of reached[plan->n_devices]. */
void select_devices(const struct sharing_entry *entry, const struct plan *plan,
                    struct problems *problems, bool *reached);

/* True if gpuslice.excludeDevices names the device, or the GPU that it is a part of. */
bool select_excludes(const struct policy *policy, const struct plan *plan,
                     const struct plan_device *on);

/* The same for a GPU with all that it is partitioned into, now or later. */
bool select_excludes_gpu(const struct policy *policy, const struct gpu *gpu);

/* Indices that name nothing here are a note; UUIDs and addresses may be another node's. */
void select_report_excluded(const struct policy *policy, const struct plan *plan,
                            struct problems *problems);

/*
 * "GPU 3", "GPUs 0, 1, 3" or "MIG devices 0:0, 0:1": the devices whose `chosen` is set, cut with
 * "..." when too long. Kinds mixed: "devices 0:0, 1".
 */
void select_format(const struct plan *plan, const bool *chosen, char *buffer, size_t size);

/* Sets `ret_chosen` for every device that is left out for the same reason as `on`. The first of
 * them: what reports each reason once does so there. */
const struct plan_device *select_left_out_alike(const struct plan *plan,
                                                const struct plan_device *on, bool *ret_chosen);
