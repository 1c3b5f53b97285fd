// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The promises of plan.h and label.h, checked: for tests, fuzzers and whoever doubts a plan. */

#include "slice/plan.h"

/* The first broken promise as a sentence, or NULL when the plan keeps all. Needs no memory. */
const char *plan_fault(const struct plan *plan);
