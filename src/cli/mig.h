// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What MIG cannot do for a policy, in a sentence that says what to write instead. Pure. The plan
 * says what does not fit a machine's MIG devices; here is what no plan can know: that a file alone
 * already contradicts itself, or that a machine's models have no MIG at all.
 */

#include "base/problem.h"
#include "slice/inventory.h"
#include "slice/policy.h"

/* inventory NULL: judges the file alone. */
void mig_advise(const struct policy *policy, const struct inventory *inventory,
                struct problems *problems);
