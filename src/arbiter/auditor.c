// SPDX-License-Identifier: Apache-2.0
#include "arbiter/auditor.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "arbiter/account.h"
#include "arbiter/auditmetrics.h"
#include "arbiter/auditread.h"
#include "arbiter/findinglog.h"
#include "arbiter/noderecords.h"
#include "arbiter/procfs.h"
#include "arbiter/reaper.h"
#include "arbiter/starver.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/lograte.h"
#include "gpu/migrequest.h"

enum {
    PERIOD_MS = 1000,
    AGAIN_MS = 500,   /* where something was seen once: findings are logged within two seconds */
    STALE_MS = 30000, /* without an audit */
    ANSWERS = 3,      /* deadlines of a driver call, until an answer is given up */
    BUSY_MS = 20,     /* when a reading is due and another one goes on */
    DUTY = 10,        /* of the time, readings between the ticks take one part of so many */
};

#define STATE_NAME "audit"

/* What one audit needs, in the thread of the pool; it borrows nothing of the auditor but its
 * options. */
struct job {
    uv_work_t work;
    struct auditor *auditor; /* NULL: freed meanwhile */
    const struct arbiteroptions *options;
    struct reading *reading;
    struct podrecords records;
    struct audit audit;
    bool sees_node; /* /proc is the node's */
    int outcome;
    struct error err;
};

struct auditor {
    uv_loop_t *loop;
    const struct arbiteroptions *options;
    struct limiter *limiter; /* NULL = no limits */
    uv_timer_t tick, soon;
    int n_open;                 /* handles */
    uint64_t begun_ms, took_ms; /* the last reading and its audit */
    struct driver *driver;      /* NULL while it is let go */
    struct inventory machine;
    bool has_machine, is_reading;
    char no_driver[256]; /* why there is none; "" = there is one */
    struct job *job;     /* that runs; NULL = none */
    struct violations violations;
    bool is_to_note; /* they are not in the file as they are now */
    struct audit last;
    bool has_last;
    uint64_t started_ms, last_ms;
    uint64_t n_audits, n_failed, n_killed, n_kills_failed;
    struct findinglog log;
    struct lograte driver_trouble, audit_trouble, state_trouble, unread, blind, let_go;
    bool has_said_unseen;
    char state_path[PATH_MAX];
};

static void note_state(struct lograte *rate, const char *sentence, const char *key,
                       const char *value)
{
    if (lograte_begin(rate, sentence, clock_now_ms()))
        log_warning(sentence, key, value);
}

/* --- what was reported, on disk --- */

static void recall(struct auditor *auditor)
{
    cleanup_free char *data = NULL;
    struct error err = ERROR_INIT;
    size_t size;
    int r = file_read(auditor->state_path, VIOLATIONS_SIZE_MAX, &data, &size, &err);

    if (r == -ENOENT)
        return;
    if (r == 0)
        r = violations_parse(&auditor->violations, data, size, clock_now_ms());
    if (r < 0)
        log_warning("what was reported before is not known, and is reported again", "file",
                    auditor->state_path, "reason",
                    r == -EBADMSG ? "not a list of findings" : error_text(&err));
}

static void store(struct auditor *auditor)
{
    cleanup_text struct text text = TEXT_INIT;
    struct error err = ERROR_INIT;

    violations_format(&auditor->violations, &text);
    if (!text_failed(&text) &&
        file_write_atomic(auditor->state_path, text_string(&text), text.length, 0600, &err) == 0) {
        auditor->is_to_note = false;
        lograte_end(&auditor->state_trouble);
    } else {
        note_state(&auditor->state_trouble, "what was reported cannot be noted", "reason",
                   error_text(&err));
    }
}

/* --- the outcome of an audit --- */

static void on_begun(const struct violation *violation, const struct audit *audit,
                     const struct audit_use *use, void *userdata)
{
    struct auditor *auditor = userdata;

    findinglog_begun(&auditor->log, violation, audit, use, clock_now_ms());
}

static void on_ended(const struct violation *violation, void *userdata)
{
    struct auditor *auditor = userdata;

    findinglog_ended(&auditor->log, violation, time(NULL), clock_now_ms());
}

static void on_killed(const struct violation *violation, uint32_t pid, int outcome,
                      const char *reason, void *userdata)
{
    struct auditor *auditor = userdata;

    if (outcome == REAPER_GONE)
        return;
    auditor->n_killed += outcome == 0;
    auditor->n_kills_failed += outcome != 0;
    findinglog_killed(&auditor->log, violation, pid, reason, clock_now_ms());
}

static void on_starved(const struct violation *violation, enum starver_outcome outcome,
                       void *userdata)
{
    struct auditor *auditor = userdata;

    findinglog_starved(&auditor->log, violation, outcome, clock_now_ms());
}

static void choose_starved(struct auditor *auditor, const struct job *job, uint64_t now_ms)
{
    if (!auditor->limiter)
        return;
    starver_decide(&auditor->violations, &auditor->options->policy,
                   limiter_get_mode(auditor->limiter) == LIMITS_ENFORCED,
                   job->records.has_checkpoint, now_ms, on_starved, auditor);
}

static void act(struct auditor *auditor, const struct job *job)
{
    const struct arbiteroptions *options = auditor->options;
    const uint64_t now_ms = clock_now_ms();

    if (!job->sees_node) /* what the driver lists may be numbers of other processes here */
        return;
    for (size_t i = 0; i < auditor->violations.n; i++) {
        struct violation *violation = &auditor->violations.items[i];

        if (options->policy.action == VIOLATION_KILL && reaper_is_ready(violation, now_ms) &&
            violationpolicy_is_due(&options->policy, violation, job->records.has_checkpoint,
                                   now_ms))
            reaper_act(options->root, violation, job->reading, &job->audit, now_ms, on_killed,
                       auditor);
    }
    choose_starved(auditor, job, now_ms);
}

static void report_unread(struct auditor *auditor, const struct reading *reading)
{
    for (size_t i = 0; i < reading->usage.n; i++) {
        char sentence[400];

        if (!*reading->usage.of_gpus[i].unread)
            continue;
        snprintf(sentence, sizeof(sentence), "who uses GPU %u is not known",
                 reading->machine.gpus[i].index);
        note_state(&auditor->unread, sentence, "reason", reading->usage.of_gpus[i].unread);
        return;
    }
    if (lograte_end(&auditor->unread))
        log_info("who uses the GPUs is known again");
}

/* Once: it is so as long as the driver and the GPUs are what they are. */
static void report_unseen(struct auditor *auditor, const struct reading *reading)
{
    for (size_t i = 0; i < reading->usage.n && !auditor->has_said_unseen; i++) {
        const char *reason = reading->usage.of_gpus[i].list.unseen;

        if (!*reason)
            continue;
        log_warning("processes that have GPU memory without a CUDA context are not seen", "gpu",
                    log_number(reading->machine.gpus[i].index), "reason", reason);
        auditor->has_said_unseen = true;
    }
}

static void report_blindness(struct auditor *auditor, const struct job *job)
{
    if (!job->sees_node)
        note_state(&auditor->blind, "/proc shows the processes of a container: nothing is found",
                   "hint", "run it on the node, or in a pod with hostPID");
    else if (!job->records.has_checkpoint)
        note_state(&auditor->blind,
                   "the kubelet has no checkpoint of devices, so no pod is known to have a slice",
                   "folder", job->records.places.plugin_dir);
    else
        lograte_end(&auditor->blind);
}

static void on_tick(uv_timer_t *timer);

static void take(struct auditor *auditor, struct job *job)
{
    static const struct violations_callbacks callbacks = {on_begun, on_ended};
    const struct violations_now now = {clock_now_ms(), time(NULL)};

    report_unread(auditor, job->reading);
    report_unseen(auditor, job->reading);
    report_blindness(auditor, job);
    if (violations_observe(&auditor->violations, &job->audit, now, &callbacks, auditor))
        auditor->is_to_note = true;
    if (auditor->is_to_note)
        store(auditor);
    act(auditor, job);
    if (violations_has_unconfirmed(&auditor->violations))
        uv_timer_start(&auditor->tick, on_tick, AGAIN_MS, PERIOD_MS);
    if (auditor->limiter && job->sees_node) {
        limiter_take_reading(auditor->limiter, &job->audit, &job->reading->machine, &job->records);
        limiter_starve(auditor->limiter, &auditor->violations);
    }
    audit_deinit(&auditor->last);
    auditor->last = job->audit;
    job->audit = (struct audit)AUDIT_INIT;
    auditor->has_last = true;
    auditor->last_ms = now.ms;
    auditor->n_audits++;
    if (lograte_end(&auditor->audit_trouble))
        log_info("this node is audited again");
}

/* --- one audit --- */

static void free_job(struct job *job)
{
    reading_free(job->reading);
    podrecords_deinit(&job->records);
    audit_deinit(&job->audit);
    free(job);
}

static void run_job(uv_work_t *work)
{
    struct job *job = work->data;
    const struct arbiteroptions *options = job->options;
    cleanup_localgrants struct localgrants commands = LOCALGRANTS_INIT;
    int r = noderecords_read(options, &job->records, &job->err);

    if (r == 0)
        r = noderecords_read_commands(options, &commands, &job->err);
    if (r == 0) {
        r = auditread(options->local_grant ? NULL : options->root, &commands,
                      &job->reading->machine, &job->reading->usage, &job->records, &job->audit);
        if (r < 0)
            error_set_errno(&job->err, r, "cannot audit this node");
    }
    job->sees_node = options->local_grant || procfs_is_node(options->root);
    job->outcome = r;
}

static void end_job(uv_work_t *work, int status)
{
    struct job *job = work->data;
    struct auditor *auditor = job->auditor;

    if (auditor) {
        auditor->job = NULL;
        auditor->took_ms = clock_now_ms() - auditor->begun_ms;
        if (status == 0 && job->outcome == 0) {
            take(auditor, job);
        } else {
            auditor->n_failed++;
            note_state(&auditor->audit_trouble, "this node cannot be audited", "reason",
                       status < 0 ? uv_strerror(status) : error_text(&job->err));
        }
    }
    free_job(job);
}

static void on_read(struct reading *reading, void *userdata)
{
    struct auditor *auditor = userdata;
    struct job *job = auditor->driver ? calloc(1, sizeof(*job)) : NULL;
    int r = -ENOMEM;

    auditor->is_reading = false;
    if (!job) { /* no memory, or no driver any more */
        reading_free(reading);
        return;
    }
    job->auditor = auditor;
    job->options = auditor->options;
    job->reading = reading;
    job->records = (struct podrecords)PODRECORDS_INIT;
    job->work.data = job;
    r = uv_queue_work(auditor->loop, &job->work, run_job, end_job);
    if (r < 0) {
        note_state(&auditor->audit_trouble, "this node cannot be audited", "reason",
                   uv_strerror(r));
        free_job(job);
        return;
    }
    auditor->job = job;
}

/* --- the driver --- */

static void on_inventory(const struct inventory *inventory, void *userdata)
{
    struct auditor *auditor = userdata;

    inventory_deinit(&auditor->machine);
    auditor->machine = (struct inventory)INVENTORY_INIT;
    auditor->has_machine = inventory_copy(&auditor->machine, inventory) == 0;
    auditor->no_driver[0] = '\0';
    if (lograte_end(&auditor->driver_trouble))
        log_info("the driver is available", "gpus", log_number(inventory->n_gpus));
}

static void on_unavailable(const char *reason, void *userdata)
{
    struct auditor *auditor = userdata;

    auditor->has_machine = false;
    snprintf(auditor->no_driver, sizeof(auditor->no_driver), "%s", reason);
    if (lograte_begin(&auditor->driver_trouble, reason, clock_now_ms()))
        log_info("there is no driver to ask", "reason", reason);
}

static void on_hang(const char *call, const char *uuid, bool stuck, void *userdata)
{
    (void)userdata;
    log_warning(stuck ? "the driver's helper cannot be ended; another one is started"
                      : "a call into the driver does not return; its helper is replaced",
                "call", call, "gpu", *uuid ? uuid : NULL);
}

static void start_driver(struct auditor *auditor)
{
    static const struct driver_callbacks callbacks = {
        .on_inventory = on_inventory, .on_unavailable = on_unavailable, .on_hang = on_hang};
    const struct driver_options options = {
        .container_driver_root = auditor->options->container_driver_root,
        .driver_root = auditor->options->driver_root,
        .deadline_ms = auditor->options->driver_deadline_s * 1000ull,
    };
    struct error err = ERROR_INIT;

    if (driver_new(auditor->loop, &options, &callbacks, auditor, &auditor->driver, &err) < 0)
        on_unavailable(error_text(&err), auditor);
}

static void let_go(struct auditor *auditor)
{
    struct driver *driver = TAKE_PTR(auditor->driver);

    driver_free(driver); /* which ends a reading */
    auditor->has_machine = false;
}

/* --- every second --- */

static bool is_partitioning(const struct auditor *auditor)
{
    struct places places;
    char path[PATH_MAX];

    return places_find_below(auditor->options->root, auditor->options->state_dir, &places, NULL) ==
               0 &&
           snprintf(path, sizeof(path), "%s/" MIGREQUEST_BEGUN, places.grant_dir) < PATH_MAX &&
           access(path, F_OK) == 0;
}

static bool is_busy(const struct auditor *auditor)
{
    return auditor->is_reading || auditor->job;
}

static void begin(struct auditor *auditor)
{
    const uint64_t deadline_ms = auditor->options->driver_deadline_s * 1000ull;

    auditor->is_reading = true;
    auditor->begun_ms = clock_now_ms();
    if (auditor->limiter)
        limiter_begin_reading(auditor->limiter);
    if (reading_begin(auditor->driver, &auditor->machine, ANSWERS * deadline_ms, on_read, auditor) <
        0)
        auditor->is_reading = false;
}

/* One that is due in a moment is the better one: then the process has been quiet. */
static bool is_due(const struct auditor *auditor)
{
    return uv_is_active((const uv_handle_t *)&auditor->soon) &&
           uv_timer_get_due_in(&auditor->soon) <= ACCOUNT_SETTLE_MS;
}

static void on_tick(uv_timer_t *timer)
{
    struct auditor *auditor = timer->data;

    if (is_partitioning(auditor)) {
        let_go(auditor);
        note_state(&auditor->let_go, "no audit while GPUs are being partitioned", NULL, NULL);
        return;
    }
    if (lograte_end(&auditor->let_go))
        log_info("GPUs are no longer being partitioned");
    if (!auditor->driver)
        start_driver(auditor);
    if (auditor->has_machine && !is_busy(auditor) && !is_due(auditor))
        begin(auditor);
}

/* --- between the ticks --- */

static void on_soon(uv_timer_t *timer)
{
    struct auditor *auditor = timer->data;

    if (is_busy(auditor))
        uv_timer_start(timer, on_soon, BUSY_MS, 0);
    else if (auditor->has_machine && auditor->driver)
        begin(auditor);
}

/* Tenants decide how often this is called; so it does not follow how often the driver is read. */
static void read_soon(void *userdata)
{
    struct auditor *auditor = userdata;
    uint64_t pause_ms = DUTY * auditor->took_ms;

    pause_ms = pause_ms > ACCOUNT_SETTLE_MS ? pause_ms : ACCOUNT_SETTLE_MS;
    if (!uv_is_active((const uv_handle_t *)&auditor->soon))
        uv_timer_start(&auditor->soon, on_soon, pause_ms < PERIOD_MS ? pause_ms : PERIOD_MS, 0);
}

/* --- life --- */

int auditor_new(uv_loop_t *loop, const struct arbiteroptions *options, struct limiter *limiter,
                struct auditor **ret_auditor, struct error *err)
{
    struct auditor *auditor = calloc(1, sizeof(*auditor));
    int r;

    if (!auditor)
        return error_set_errno(err, -ENOMEM, "cannot audit this node");
    auditor->loop = loop;
    auditor->options = options;
    auditor->limiter = limiter;
    auditor->started_ms = clock_now_ms();
    if (snprintf(auditor->state_path, PATH_MAX, "%s/" STATE_NAME, options->state_dir) >= PATH_MAX) {
        free(auditor);
        return error_set_errno(err, -ENAMETOOLONG, "--state-dir=%s", options->state_dir);
    }
    r = file_make_directory(options->state_dir, err);
    if (r < 0) {
        free(auditor);
        return r;
    }
    recall(auditor);
    uv_timer_init(loop, &auditor->tick);
    uv_timer_init(loop, &auditor->soon);
    auditor->n_open = 2;
    auditor->tick.data = auditor->soon.data = auditor;
    if (limiter)
        limiter_on_unread(limiter, read_soon, auditor);
    uv_timer_start(&auditor->tick, on_tick, 0, PERIOD_MS);
    *ret_auditor = auditor;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct auditor *auditor = handle->data;

    if (--auditor->n_open > 0)
        return;
    violations_deinit(&auditor->violations);
    audit_deinit(&auditor->last);
    inventory_deinit(&auditor->machine);
    free(auditor);
}

void auditor_free(struct auditor *auditor)
{
    if (!auditor)
        return;
    if (auditor->job)
        auditor->job->auditor = NULL;
    if (auditor->limiter)
        limiter_on_unread(auditor->limiter, NULL, NULL);
    let_go(auditor);
    uv_close((uv_handle_t *)&auditor->tick, on_closed);
    uv_close((uv_handle_t *)&auditor->soon, on_closed);
}

/* --- outputs --- */

static uint64_t age_ms(const struct auditor *auditor)
{
    return clock_now_ms() - (auditor->has_last ? auditor->last_ms : auditor->started_ms);
}

struct auditor_view auditor_view(const struct auditor *auditor)
{
    return (struct auditor_view){
        .audit = auditor->has_last ? &auditor->last : NULL,
        .age_s = (double)age_ms(auditor) / 1000,
        .no_driver = auditor->no_driver,
        .machine = &auditor->machine,
    };
}

void auditor_add_metrics(const struct auditor *auditor, struct text *out)
{
    const struct auditmetrics metrics = {
        .audit = auditor->has_last ? &auditor->last : NULL,
        .violations = &auditor->violations,
        .n_audits = auditor->n_audits,
        .n_failed = auditor->n_failed,
        .is_expected = auditor->has_last || !*auditor->no_driver,
        .age_s = (double)age_ms(auditor) / 1000,
        .n_killed = auditor->n_killed,
        .n_kills_failed = auditor->n_kills_failed,
    };

    auditmetrics_add(&metrics, out);
}

bool auditor_add_readiness(const struct auditor *auditor, struct text *out)
{
    if (*auditor->no_driver)
        text_addf(out, "there is no driver to ask: %s\n", auditor->no_driver);
    else if (age_ms(auditor) > STALE_MS)
        text_add(out, "this node is not audited, see the log\n");
    else
        text_add(out, "this node is audited\n");
    return *auditor->no_driver || age_ms(auditor) <= STALE_MS;
}
