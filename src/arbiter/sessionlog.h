// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Processes that have no part in a grant, or that were disconnected for what they sent: all are
 * counted. Tenants decide how often that happens, so each grant has a line of either kind once in
 * SESSIONLOG_QUIET_MS, and all together as many as findinglog.h admits.
 */

#include <stdint.h>

#include "arbiter/findinglog.h"
#include "base/lograte.h"

enum { SESSIONLOG_QUIET_MS = 10000 };

/* All zero = there was none yet. */
struct sessionlog {
    uint64_t n_refused, n_malformed; /* ever */
    struct findinglog lines;         /* of the last minute */
    struct lograte_keys refused, malformed;
};

/* pid: 0 = not known yet. */
void sessionlog_refused(struct sessionlog *log, const char *grant, uint32_t pid, const char *reason,
                        uint64_t now_ms);

/* It is connected, and has no part in turns; not counted. */
void sessionlog_without_turns(struct sessionlog *log, const char *grant, const char *reason,
                              uint64_t now_ms);

/* pod_uid: "" = not known yet. */
void sessionlog_malformed(struct sessionlog *log, const char *grant, uint32_t pid,
                          const char *pod_uid, const char *reason, uint64_t now_ms);
