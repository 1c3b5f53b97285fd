// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Findings in the log: each once when it begins and once when it ends. Pods that come and go
 * quickly do not flood it: in FINDINGLOG_PERIOD_MS there are FINDINGLOG_BURST lines at most, and
 * how many were left out is logged after it.
 */

#include <stdint.h>

#include "arbiter/starver.h"
#include "arbiter/violations.h"

enum { FINDINGLOG_BURST = 60, FINDINGLOG_PERIOD_MS = 60000 };

/* All zero = nothing was logged yet. */
struct findinglog {
    uint64_t since_ms;
    unsigned n_logged, n_left_out; /* since then */
};

void findinglog_begun(struct findinglog *log, const struct violation *violation,
                      const struct audit *audit, const struct audit_use *use, uint64_t now_ms);
void findinglog_ended(struct findinglog *log, const struct violation *violation, int64_t now_s,
                      uint64_t now_ms);

/* reason: why it could not be killed, which counts among those lines; "" = it was, which is always
 * logged. */
void findinglog_killed(struct findinglog *log, const struct violation *violation, uint32_t pid,
                       const char *reason, uint64_t now_ms);

void findinglog_starved(struct findinglog *log, const struct violation *violation,
                        enum starver_outcome outcome, uint64_t now_ms);

/* True: there may be another line. *ret_left_out: how many were not logged in the period before. */
bool findinglog_admit(struct findinglog *log, uint64_t now_ms, unsigned *ret_left_out);
