// SPDX-License-Identifier: Apache-2.0
#include "arbiter/sessionlog.h"

#include "base/log.h"

static bool admit(struct sessionlog *log, struct lograte_keys *keys, const char *grant,
                  uint64_t now_ms)
{
    unsigned n_left_out;

    return lograte_admit(keys, grant, SESSIONLOG_QUIET_MS, now_ms) &&
           findinglog_admit(&log->lines, now_ms, &n_left_out);
}

void sessionlog_refused(struct sessionlog *log, const char *grant, uint32_t pid, const char *reason,
                        uint64_t now_ms)
{
    log->n_refused++;
    if (admit(log, &log->refused, grant, now_ms))
        log_warning("a process has no part in a grant", "reason", reason, "grant", grant, "pid",
                    pid ? log_number(pid) : NULL);
}

void sessionlog_without_turns(struct sessionlog *log, const char *grant, const char *reason,
                              uint64_t now_ms)
{
    if (admit(log, &log->refused, grant, now_ms))
        log_warning("a process has no part in turns", "reason", reason, "grant", grant);
}

void sessionlog_malformed(struct sessionlog *log, const char *grant, uint32_t pid,
                          const char *pod_uid, const char *reason, uint64_t now_ms)
{
    log->n_malformed++;
    if (admit(log, &log->malformed, grant, now_ms))
        log_warning("a process was disconnected for what it sent", "reason", reason, "pid",
                    log_number(pid), "pod_uid", pod_uid, "grant", grant);
}
