// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What a person should know about a plan that can be made, but may not do what was meant. */

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

void lint_plan(const struct plan *plan, const struct policy *policy, struct problems *problems);
