// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Who is charged for the time that is over (ration.h). A unit that has the turn is charged all of
 * it, from its first work to the end of its last; any other unit with work in flight is charged an
 * equal part, as the hardware gives it. So overlap is charged to both.
 */

#include <stdint.h>

#include "arbiter/probe.h"
#include "arbiter/rotation.h"
#include "arbiter/turnsunit.h"

enum {
    BILLING_WANTING_MS = 20,  /* after its last work a unit is owed its share for so long */
    BILLING_HANDOVER_US = 50, /* from a grant until something runs: nobody's time */
    BILLING_WINDOW_MS = 1000, /* for what is borrowed and lent */
};

struct billing {
    uint64_t window_ns; /* of the current window, what is over */
};

/* ns: since the last run. */
void billing_run(struct billing *billing, struct turns_unit *units, const struct rotation *rotation,
                 const struct unit_probe *probe, uint64_t ns, uint64_t now_ns);
