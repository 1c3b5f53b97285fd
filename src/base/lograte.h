// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A state that lasts is logged once, not at each retry.
 *
 * A state is known by its sentence. It is news when it begins, when it is worded differently, and
 * when it comes back after it has ended. A peer that words it differently each time (a hostile
 * kubelet, or one that puts a number into its sentences) does not fill the log either:
 * LOGRATE_BURST lines are logged in LOGRATE_PERIOD_MS. The end of a state may be logged when its
 * beginning was.
 *
 * Pure: no clock and no I/O. Time is milliseconds of any clock that does not run backwards.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LOGRATE_BURST = 4, LOGRATE_PERIOD_MS = 60000, LOGRATE_KEYS_MAX = 16 };

/* All zero = there was no state yet. */
struct lograte {
    uint64_t state;    /* of the sentence that was logged last; 0 = none, or it has ended */
    uint64_t since_ms; /* when the period began in which ... */
    unsigned n_logged; /* ... so many lines were logged */
};

/* The state lasts, or begins. True = log it; false = it was logged, or enough was. */
bool lograte_begin(struct lograte *rate, const char *sentence, uint64_t now_ms);

/* The same without a limit, for who acts on it: true whenever it is another state than before. */
bool lograte_change(struct lograte *rate, const char *sentence);

/* It is over. True when it had been logged. */
bool lograte_end(struct lograte *rate);

/* Many states that have no end: each is logged once in a while. All zero = there was none yet. */
struct lograte_keys {
    struct {
        uint64_t key, until_ms;
    } items[LOGRATE_KEYS_MAX]; /* a ring: among more than that, the oldest may be logged again */
    size_t n_logged;
};

/* True when the key was not logged in the last quiet_ms; it counts as logged then. */
bool lograte_admit(struct lograte_keys *keys, const char *key, uint64_t quiet_ms, uint64_t now_ms);
