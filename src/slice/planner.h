// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Inventory + policy -> plan. No I/O, no clock, no log.
 *
 * The same inventory and policy give the same plan, byte by byte. A device belongs to the first
 * sharing entry that selects it, MPS before time slicing (assign.h); a whole GPU that none selects
 * is divided by gpuslice.slices, and the rest is offered unshared. Messages for people are added to
 * `problems`, with their position in the configuration.
 *
 * migStrategy decides which devices there are:
 *     none     every GPU is one device, partitioned or not
 *     single   MIG devices are called nvidia.com/gpu, so they are offered only when all devices of
 *              the node are MIG devices of one profile
 *     mixed    MIG devices are called nvidia.com/mig-<profile>, and may lie beside whole GPUs
 */

#include "slice/plan.h"

/*
 * 0, or -ENOMEM. Contradictions of policy and machine are problems (errors among them are resolved
 * as in the agent: first entry wins, the impossible is left out), so that there always is a plan.
 * `problems` may be NULL.
 */
int plan_make(const struct inventory *inventory, const struct policy *policy,
              struct problems *problems, struct plan **ret_plan);
