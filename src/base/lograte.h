// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A state that lasts is logged once, not at each retry.
 *
 * A state is identified by its message. It is logged when it begins, when its message changes, and
 * when it returns after it has ended. A peer whose message differs each time (a hostile kubelet, or
 * one that includes a number) does not flood the log either: LOGRATE_BURST lines are logged in
 * LOGRATE_PERIOD_MS. The end of a state may be logged when its beginning was.
 *
 * Pure: no clock and no I/O. Time is in milliseconds of any monotonic clock.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LOGRATE_BURST = 4, LOGRATE_PERIOD_MS = 60000, LOGRATE_KEYS_MAX = 16 };

/* All zero = there was no state yet. */
struct lograte {
    uint64_t state;    /* of the last logged message; 0 = none, or it has ended */
    uint64_t since_ms; /* start of the period in which ... */
    unsigned n_logged; /* ... so many lines were logged */
};

/* The state lasts, or begins. True = log it; false = already logged, or too many lines. */
bool lograte_begin(struct lograte *rate, const char *sentence, uint64_t now_ms);

/* The same without a limit, to act on it: true whenever it is another state than before. */
bool lograte_change(struct lograte *rate, const char *sentence);

/* It ended. True if it had been logged. */
bool lograte_end(struct lograte *rate);

/* Many states without an end: each is logged once in a while. All zero = none yet. */
struct lograte_keys {
    struct {
        uint64_t key, until_ms;
    } items[LOGRATE_KEYS_MAX]; /* a ring: among more than that, the oldest may be logged again */
    size_t n_logged;
};

/* True if the key was not logged in the last quiet_ms; it counts as logged then. */
bool lograte_admit(struct lograte_keys *keys, const char *key, uint64_t quiet_ms, uint64_t now_ms);
