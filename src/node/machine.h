// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The machine as remembered by the agent. The driver drops a GPU that fell off the bus, or lists it
 * without its UUID, and its MIG devices with it; their slices must stay listed (as Unhealthy), with
 * the same ids.
 *
 * A MIG device missing from a present GPU is a fault as well: a reset of an H100 removes its MIG
 * devices, and pods still request them. Those that we destroyed ourselves are dropped at once, and
 * others once no pod holds them (vanished.h).
 */

#include <stdbool.h>

#include "slice/inventory.h"

/*
 * Updates `known` with what the driver lists now: GPUs and MIG devices are matched by UUID, new
 * ones are added, known ones that are missing or unusable stay as they were, except for the MIG
 * devices whose UUIDs are `destroyed`. While one is missing the others keep their indices too,
 * since the driver renumbers. *ret_changed: the plan may differ. 0 or -ENOMEM.
 */
int machine_update(struct inventory *known, const struct inventory *seen,
                   const char *const *destroyed, size_t n_destroyed, bool *ret_changed);

/* Drops a MIG device. True if it was known. */
bool machine_forget(struct inventory *known, const char *uuid);
