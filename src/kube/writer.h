// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Keeps one thing at the API server as it should be: on writer_sync it makes at most one request at
 * a time, checks again after each, and is idle when nothing is left to write. The desired state is
 * computed when sending, so newer ones supersede older ones.
 *
 * Failures are retried with back-off and logged once, until the reason changes or a write succeeds.
 * A conflict is not a failure: somebody else was faster, and the next sync sees what they wrote.
 */

#include <stdbool.h>
#include <uv.h>

#include "base/lograte.h"
#include "kube/backoff.h"
#include "kube/client.h"
#include "kube/object.h"

enum writer_outcome { WRITER_IDLE = 1 };

struct writer_job {
    const char *what;   /* "the labels of the Node" */
    const char *remedy; /* for a refusal: "let our service account patch nodes" */
    /* Sends the next request, with on_done and done_userdata. WRITER_IDLE: nothing to write. */
    int (*send)(void *userdata, kube_done_fn *on_done, void *done_userdata,
                struct kube_call **ret_call, struct error *err);
    /* The server responded 2xx, or 404 if `absent_is_fine`. May be NULL. */
    void (*on_answer)(const struct kube_response *response, void *userdata);
    /* 409: evaluates it before the next sync. May be NULL. */
    void (*on_conflict)(const struct kube_response *response, void *userdata);
    bool absent_is_fine;
    /* True for a response of the API server about this thing. NULL = always. */
    bool (*is_ours)(const struct kube_response *response, void *userdata);
};

struct writer {
    const struct writer_job *job;
    void *job_userdata;
    void (*on_change)(void *userdata); /* it became idle, or failed */
    void *userdata;
    uv_timer_t timer;
    struct kube_call *call; /* NULL = none pending */
    struct backoff backoff;
    bool is_waiting;                /* the timer runs after a failure */
    bool was_conflict;              /* ... which was only a conflict */
    unsigned n_conflicts, n_writes; /* since it was last idle */
    bool idle;                      /* nothing was left at the last sync */
    bool is_failing;                /* it fails, and is retried */
    struct lograte failure;
};

void writer_init(struct writer *writer, uv_loop_t *loop, const struct writer_job *job,
                 void (*on_change)(void *userdata), void *userdata, void *job_userdata);

/* Something changed: sync, unless it is backing off. */
void writer_sync(struct writer *writer);

/* The server is reachable again: sync immediately. */
void writer_kick(struct writer *writer);

/* Stops; the memory may be freed once the loop has run. */
void writer_deinit(struct writer *writer);
