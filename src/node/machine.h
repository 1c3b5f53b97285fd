// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The machine as the agent remembers it. The driver forgets a GPU that fell off the bus, or lists
 * it without its UUID, and with it its MIG devices; their slices must stay listed (as Unhealthy)
 * all the same, with the ids they had.
 *
 * A MIG device that is gone while its GPU is there is a fault as well: a reset of an H100 takes its
 * MIG devices along, and pods still ask for them. Only those that we destroyed ourselves go.
 */

#include <stdbool.h>

#include "slice/inventory.h"

/*
 * Brings `known` up to date with what the driver lists now: GPUs and MIG devices are matched by
 * UUID, new ones are added, known ones that are missing or unusable stay as they were, except for
 * the MIG devices whose UUIDs are `destroyed`. While one is missing the others keep their indices
 * too, since the driver renumbers. *ret_changed: a plan may come out differently. 0 or -ENOMEM.
 */
int machine_update(struct inventory *known, const struct inventory *seen,
                   const char *const *destroyed, size_t n_destroyed, bool *ret_changed);
