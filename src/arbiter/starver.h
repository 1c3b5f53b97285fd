// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which pods are starved: the library in their containers is refused more memory, on each device
 * and by whatever it asks for, while a violation of theirs lasts (limiter_starve).
 *
 * Nothing else is done to a process: one that runs without the library is charged to its container,
 * and not stopped. A frozen or stopped process would keep its memory and its kernels would run on,
 * and what else waits for it (a server of MPS, a collective, a lock in shared memory) is not known.
 *
 * Pure: no clock, no log.
 */

#include <stdbool.h>
#include <stdint.h>

#include "arbiter/violationpolicy.h"

enum starver_outcome {
    STARVER_BEGUN,
    STARVER_ENDED,      /* before the violation: limits are not enforced any more */
    STARVER_NO_LIBRARY, /* the pod holds no slice: there is nothing that asks */
};

typedef void starver_fn(const struct violation *violation, enum starver_outcome outcome,
                        void *userdata);

/* After each audit, and its observation: which violations are starved from now on, until they end.
 * is_enforcing: memory limits are. fn runs for each that changes. */
void starver_decide(struct violations *violations, const struct violationpolicy *policy,
                    bool is_enforcing, bool knows_holders, uint64_t now_ms, starver_fn *fn,
                    void *userdata);
