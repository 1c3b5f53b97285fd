// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Keeps one thing at the API server as it should be: asked to look, it makes at most one request at
 * a time, looks again after each, and rests when nothing is left to be written. What should be is
 * computed at the moment of sending, so newer wishes supersede older ones.
 *
 * A failure is tried again with back-off and said once, until its reason changes or it works again.
 * A conflict is no failure: somebody else was faster, and the next look sees what they wrote.
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
    const char *remedy; /* of a refusal: "let our service account patch nodes" */
    /* Sends the next request, with on_done and done_userdata. WRITER_IDLE: nothing to write. */
    int (*send)(void *userdata, kube_done_fn *on_done, void *done_userdata,
                struct kube_call **ret_call, struct error *err);
    /* The server answered 2xx, or 404 where `absent_is_fine`. May be NULL. */
    void (*on_answer)(const struct kube_response *response, void *userdata);
    /* 409: what can be learnt of it, before the next look. May be NULL. */
    void (*on_conflict)(const struct kube_response *response, void *userdata);
    bool absent_is_fine;
    /* Is it the API server's answer, and about this thing? NULL = every one is. */
    bool (*is_ours)(const struct kube_response *response, void *userdata);
};

struct writer {
    const struct writer_job *job;
    void *job_userdata;
    void (*on_change)(void *userdata); /* it came to rest, or failed */
    void *userdata;
    uv_timer_t timer;
    struct kube_call *call; /* NULL = none is open */
    struct backoff backoff;
    bool is_waiting;                /* the timer runs after a failure */
    bool was_conflict;              /* ... which was only a conflict */
    unsigned n_conflicts, n_writes; /* since the last rest */
    bool at_rest;                   /* at the last look nothing was left */
    bool is_failing;                /* it does not work, and is tried again */
    struct lograte failure;
};

void writer_init(struct writer *writer, uv_loop_t *loop, const struct writer_job *job,
                 void (*on_change)(void *userdata), void *userdata, void *job_userdata);

/* Something changed: look, unless a failure is being waited out. */
void writer_sync(struct writer *writer);

/* The server can be reached again: look at once. */
void writer_kick(struct writer *writer);

/* Stops; the memory may go when the loop has run. */
void writer_deinit(struct writer *writer);
