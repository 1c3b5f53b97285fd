// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The machine as the agent remembers it. The driver forgets a GPU that fell off the bus, or lists
 * it without its UUID; its slices must stay listed (as Unhealthy) all the same, with the ids they
 * had.
 */

#include <stdbool.h>

#include "slice/inventory.h"

/*
 * Brings `known` up to date with what the driver sees now: GPUs are matched by UUID, new ones are
 * added, known ones that are missing or unusable stay as they were. While one is missing the others
 * keep their indices too, since the driver renumbers. *ret_changed: a plan may come out
 * differently. 0 or -ENOMEM.
 */
int machine_update(struct inventory *known, const struct inventory *seen, bool *ret_changed);
