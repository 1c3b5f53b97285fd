// SPDX-License-Identifier: Apache-2.0
#include "kube/writer.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"

enum {
    FIRST_MS = 500,
    LAST_MS = 5 * 60 * 1000, /* a lasting refusal on a thousand nodes must not load the server */
    CONFLICTS_LOGGED = 8,    /* this many in a row are no coincidence */
    WRITES_LOGGED = 8, /* this many in a row without idling: a webhook may undo what we write */
};

void writer_init(struct writer *writer, uv_loop_t *loop, const struct writer_job *job,
                 void (*on_change)(void *userdata), void *userdata, void *job_userdata)
{
    *writer = (struct writer){
        .job = job,
        .job_userdata = job_userdata,
        .userdata = userdata,
        .on_change = on_change,
        .backoff = {.first_ms = FIRST_MS, .last_ms = LAST_MS},
    };
    uv_timer_init(loop, &writer->timer);
    writer->timer.data = writer;
}

static void log_trouble(struct writer *writer, const char *reason, unsigned status)
{
    writer->is_failing = true;
    if (!lograte_begin(&writer->failure, reason, clock_now_ms()))
        return;
    log_warning("cannot write to the cluster, retrying", "what", writer->job->what, "reason",
                reason, "hint", status == 403 ? writer->job->remedy : NULL);
}

static void on_timer(uv_timer_t *timer)
{
    struct writer *writer = timer->data;

    writer->is_waiting = false;
    writer_sync(writer);
}

static void wait(struct writer *writer, unsigned retry_after_s)
{
    writer->is_waiting = true;
    writer->idle = false;
    uv_timer_start(&writer->timer, on_timer, backoff_next_ms(&writer->backoff, retry_after_s), 0);
    writer->on_change(writer->userdata);
}

static bool is_good(const struct writer *writer, const struct kube_response *response)
{
    const struct writer_job *job = writer->job;

    return (kube_is_success(response->http_status) ||
            (response->http_status == 404 && job->absent_is_fine)) &&
           (!job->is_ours || job->is_ours(response, writer->job_userdata));
}

static void on_good(struct writer *writer, const struct kube_response *response)
{
    if (writer->job->on_answer)
        writer->job->on_answer(response, writer->job_userdata);
    if (++writer->n_writes >= WRITES_LOGGED) {
        log_trouble(writer, "the server accepts our writes but does not keep them", 0);
        wait(writer, 0);
        return;
    }
    writer_sync(writer);
}

static void on_idle(struct writer *writer)
{
    const bool was_idle = writer->idle;

    if (lograte_end(&writer->failure))
        log_info("writing to the cluster again", "what", writer->job->what);
    writer->is_failing = false;
    writer->n_conflicts = writer->n_writes = 0;
    backoff_reset(&writer->backoff);
    writer->idle = true;
    if (!was_idle)
        writer->on_change(writer->userdata);
}

/* A failed `test` of a JSON patch is a 422 as well. */
static void on_bad(struct writer *writer, const struct kube_response *response)
{
    const bool is_conflict =
        !response->error && (response->http_status == 409 || response->http_status == 422);
    const char *unnamed = kube_is_success(response->http_status)
                              ? "the response is not from the API server"
                              : "the server gave no reason";
    char reason[256];

    snprintf(reason, sizeof(reason), "%s", *response->reason ? response->reason : unnamed);
    writer->was_conflict = is_conflict && ++writer->n_conflicts < CONFLICTS_LOGGED;
    if (!writer->was_conflict)
        log_trouble(writer, reason, response->http_status);
    wait(writer, response->retry_after_s);
    if (writer->was_conflict && response->http_status == 409 && writer->job->on_conflict)
        writer->job->on_conflict(response, writer->job_userdata);
}

static void on_done(const struct kube_response *response, void *userdata)
{
    struct writer *writer = userdata;

    writer->call = NULL;
    if (is_good(writer, response))
        on_good(writer, response);
    else
        on_bad(writer, response);
}

void writer_sync(struct writer *writer)
{
    struct error err = ERROR_INIT;
    int r;

    if (writer->call || (writer->is_waiting && !writer->was_conflict))
        return;
    uv_timer_stop(&writer->timer);
    writer->is_waiting = writer->was_conflict = false;
    r = writer->job->send(writer->job_userdata, on_done, writer, &writer->call, &err);
    if (r < 0) {
        log_trouble(writer, error_text(&err), 0);
        wait(writer, 0);
    } else if (r == WRITER_IDLE) {
        on_idle(writer);
    } else {
        writer->idle = false;
    }
}

void writer_kick(struct writer *writer)
{
    backoff_reset(&writer->backoff);
    uv_timer_stop(&writer->timer);
    writer->is_waiting = false;
    writer_sync(writer);
}

void writer_deinit(struct writer *writer)
{
    kube_cancel(TAKE_PTR(writer->call));
    if (!uv_is_closing((uv_handle_t *)&writer->timer))
        uv_close((uv_handle_t *)&writer->timer, NULL);
}
