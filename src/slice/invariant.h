// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Checks the invariants of plan.h and label.h, for tests and fuzzers. */

#include "slice/plan.h"

/* The first violated invariant, as a sentence, or NULL. Allocates nothing. */
const char *plan_fault(const struct plan *plan);
