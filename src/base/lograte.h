// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A trouble that lasts is said once, not at each retry.
 *
 * It is known by its reason. A peer that words it anew each time (a hostile kubelet, or one that
 * puts a number into its sentences) does not fill the log either: TROUBLE_SAY_MAX reasons are said
 * in TROUBLE_PERIOD_MS.
 *
 * Pure: no clock and no I/O. Time is milliseconds of any clock that does not run backwards.
 */

#include <stdbool.h>
#include <stdint.h>

enum { TROUBLE_WHY_SIZE = 256, TROUBLE_SAY_MAX = 4, TROUBLE_PERIOD_MS = 60000 };

/* All zero = there was none yet. */
struct trouble {
    char why[TROUBLE_WHY_SIZE]; /* said last; "" = none is known */
    uint64_t since_ms;          /* when the period began in which ... */
    unsigned n_said;            /* ... so much was said */
};

/* There is trouble. True = say it; false = it was said, or enough was. */
bool trouble_is_news(struct trouble *trouble, const char *why, uint64_t now_ms);

/* It is over: when it comes back it is news. */
void trouble_forget(struct trouble *trouble);
