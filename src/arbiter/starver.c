// SPDX-License-Identifier: Apache-2.0
#include "arbiter/starver.h"

#include <stddef.h>

static void begin(struct violation *violation, starver_fn *fn, void *userdata)
{
    if (violation->verdict != AUDIT_ASKED_NOTHING) {
        violation->is_starved = true;
        fn(violation, STARVER_BEGUN, userdata);
    } else if (!violation->is_out_of_reach) {
        violation->is_out_of_reach = true;
        fn(violation, STARVER_NO_LIBRARY, userdata);
    }
}

void starver_decide(struct violations *violations, const struct violationpolicy *policy,
                    bool is_enforcing, bool knows_holders, uint64_t now_ms, starver_fn *fn,
                    void *userdata)
{
    const bool starves = is_enforcing && policy->action == VIOLATION_STARVE;

    for (size_t i = 0; i < violations->n; i++) {
        struct violation *violation = &violations->items[i];

        if (violation->is_starved && !starves) {
            violation->is_starved = false;
            fn(violation, STARVER_ENDED, userdata);
        } else if (starves && !violation->is_starved &&
                   violationpolicy_is_due(policy, violation, knows_holders, now_ms)) {
            begin(violation, fn, userdata);
        }
    }
}
