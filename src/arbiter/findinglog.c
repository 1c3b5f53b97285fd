// SPDX-License-Identifier: Apache-2.0
#include "arbiter/findinglog.h"

#include "base/log.h"

bool findinglog_admit(struct findinglog *log, uint64_t now_ms, unsigned *ret_left_out)
{
    *ret_left_out = 0;
    if (now_ms - log->since_ms >= FINDINGLOG_PERIOD_MS) {
        *ret_left_out = log->n_left_out;
        *log = (struct findinglog){.since_ms = now_ms};
    }
    if (log->n_logged < FINDINGLOG_BURST) {
        log->n_logged++;
        return true;
    }
    log->n_left_out++;
    return false;
}

static bool admit(struct findinglog *log, uint64_t now_ms)
{
    unsigned n_left_out;
    const bool is_admitted = findinglog_admit(log, now_ms, &n_left_out);

    if (n_left_out)
        log_warning("too many findings begin and end; some were not logged", "lines",
                    log_number(n_left_out), "hint", "gpuslice_audit_finding has them all");
    return is_admitted;
}

static const char *word(const char *text)
{
    return *text ? text : NULL;
}

/* The keys of every line about a finding. */
static void write_line(enum log_level level, const char *message, const struct violation *violation,
                       const char *key, int64_t number, const char *reason)
{
    const struct audit_owner *owner = &violation->owner;

    log_event(level, message, "finding", audit_verdict_name(violation->verdict), "gpu",
              violation->device, "namespace", word(owner->namespace_), "pod", word(owner->pod),
              "container", word(owner->container), "pod_uid", word(owner->pod_uid), "process",
              word(owner->process), key, log_number(number), "reason", word(reason), NULL);
}

void findinglog_begun(struct findinglog *log, const struct violation *violation,
                      const struct audit *audit, const struct audit_use *use, uint64_t now_ms)
{
    cleanup_text struct text sentence = TEXT_INIT;

    if (!admit(log, now_ms))
        return;
    audit_add_finding(audit, use, &sentence);
    write_line(LOG_WARNING, text_string(&sentence), violation, "pid", violation->pid, "");
}

void findinglog_ended(struct findinglog *log, const struct violation *violation, int64_t now_s,
                      uint64_t now_ms)
{
    if (admit(log, now_ms))
        write_line(LOG_INFO, "a finding has ended", violation, "lasted_s",
                   now_s > violation->began_s ? now_s - violation->began_s : 0, "");
}

void findinglog_killed(struct findinglog *log, const struct violation *violation, uint32_t pid,
                       const char *reason, uint64_t now_ms)
{
    if (*reason && !admit(log, now_ms))
        return;
    write_line(LOG_WARNING, *reason ? "a process cannot be killed" : "a process was killed",
               violation, "pid", pid, reason);
}

void findinglog_starved(struct findinglog *log, const struct violation *violation,
                        enum starver_outcome outcome, uint64_t now_ms)
{
    static const struct {
        const char *message, *reason;
    } lines[] = {
        [STARVER_BEGUN] = {"a pod gets no more GPU memory", ""},
        [STARVER_ENDED] = {"a pod gets GPU memory again", "memory limits are not enforced"},
        [STARVER_NO_LIBRARY] = {"a pod cannot be starved",
                                "it holds no slice, so there is no library in it that asks; "
                                "--on-violation=kill would end its processes"},
    };

    if (admit(log, now_ms))
        write_line(LOG_WARNING, lines[outcome].message, violation, "pid", violation->pid,
                   lines[outcome].reason);
}
