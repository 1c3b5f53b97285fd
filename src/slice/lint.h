// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What a person should know about a policy that is valid and a plan that can be made, but may not
 * do what was meant. Each sentence tells what to write instead.
 */

#include <stdbool.h>

#include "base/problem.h"
#include "slice/plan.h"

/*
 * Memory that one CUDA context takes before the program allocates anything. NVML shows 516-518 MiB
 * per process, natively and under MPS alike: H100, driver 580.159.04, CUDA 13.0. Older GPUs take
 * less.
 */
enum { LINT_CONTEXT_MIB = 518 };

/* Clients that one GPU's MPS server takes: 48 from Volta (7.0) on, 16 before. */
enum { LINT_MPS_CLIENTS = 48, LINT_MPS_CLIENTS_PRE_VOLTA = 16 };

/* About a plan, with the place in the configuration that makes it so. */
void lint_plan(const struct plan *plan, const struct policy *policy, struct problems *problems);

/*
 * MIG names that the policy's own strategy rules out, as the file alone shows: the guides in
 * circulation ask for nvidia.com/mig-1g.5gb under `single`, where that name does not exist.
 */
void lint_policy(const struct policy *policy, struct problems *problems);

/* One entry of it, which the plan asks about too; true when there was something to report. */
bool lint_mig_name(const struct policy *policy, const struct sharing_entry *entry,
                   struct problems *problems);

/* Under which names the policy offers the MIG devices of the plan, where that is `single`'s. */
void lint_names(const struct policy *policy, const struct plan *plan, struct problems *problems);

/*
 * A policy that requires MIG, and what the machine makes of it: no model that can be partitioned,
 * GPUs that can and are not, and a built-in layout that they cannot have.
 */
void lint_models(const struct policy *policy, const struct inventory *inventory,
                 struct problems *problems);
