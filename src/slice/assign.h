// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which sharing entry gets which device.
 *
 * A device is assigned once: to MPS before time slicing, because NVIDIA's plugin (0.20) silently
 * ignores time slicing if both are given, and among entries of one strategy to the first in the
 * file. The later entry keeps those of its devices that are free. A device that two entries select
 * is an error, because the entries contradict each other; it is reported here only if the file
 * alone does not show it (see select.h).
 */

#include "base/problem.h"
#include "slice/plan.h"

/*
 * The plan's devices have base and left_out set. ret_assigned[plan->n_devices] gets the entry of
 * each device, borrowed from policy, or NULL. 0 or -ENOMEM.
 */
int assign_devices(const struct policy *policy, const struct plan *plan, struct problems *problems,
                   const struct sharing_entry **ret_assigned);
