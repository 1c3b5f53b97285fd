// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A program of ours that runs as our child, with the end of a channel at descriptor SUBPROCESS_FD.
 *
 * It is started again whenever it ends, with a back-off that is forgotten once a process said hello
 * and lived for steady_ms. A process whose channel ended (it closed its end, hangs, or sends
 * nonsense) is of no use, and is ended: it gets a moment to end by itself, then SIGTERM, then
 * SIGKILL. One that SIGKILL does not end sits in the kernel: it is reported and left behind, and
 * another one is started after the longest back-off, unless SUBPROCESS_MAX_STUCK are left already.
 *
 * No function here blocks. Callbacks may call everything here, subprocess_free included.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "base/error.h"
#include "proc/channel.h"

enum {
    SUBPROCESS_FD = 3, /* the child's end of the channel; what else it inherits comes behind */
    SUBPROCESS_MAX_ARGUMENTS = 12,
    SUBPROCESS_MAX_FDS = 4,
    SUBPROCESS_MAX_STUCK = 8,
};

struct subprocess;

/* How the next process is to be started; filled in by the owner. All is borrowed until prepare's
 * next call. */
struct subprocess_start {
    const char
        *arguments[SUBPROCESS_MAX_ARGUMENTS]; /* without the program's name; NULL ends them */
    int fds[SUBPROCESS_MAX_FDS];              /* at SUBPROCESS_FD + 1 and so on */
    unsigned n_fds;
    bool is_retry; /* in: the last one failed, and that was logged */
};

/* What became of a process. */
struct subprocess_end {
    const char *sentence; /* "ended with status 1", "does not answer" */
    bool was_steady;      /* it had said hello and lived */
    bool was_killed;      /* by subprocess_kill */
    bool did_not_start;   /* sentence says why */
    bool is_stuck;        /* it was killed and does not end: it is left behind */
};

/* Any may be NULL. */
struct subprocess_callbacks {
    /* Before each start; a negative errno is tried again later. */
    int (*prepare)(struct subprocess_start *start, void *userdata, struct error *err);
    /* A process was started: not yet known to be well. */
    void (*on_started)(void *userdata);
    /* As of a channel. on_hello: it can be talked to, from here until on_down. */
    void (*on_up)(struct channel *channel, const char *name, void *userdata);
    void (*on_notice)(struct channel *channel, uint16_t kind, const char *body, size_t size,
                      void *userdata);
    void (*on_request)(struct channel *channel, uint32_t id, uint16_t kind, const char *body,
                       size_t size, void *userdata);
    void (*on_drain)(struct channel *channel, void *userdata);
    /* The channel ended (once for each on_up, unless the subprocess is freed). */
    void (*on_down)(struct channel *channel, void *userdata);
    /* The process is gone, or could not be started. */
    void (*on_ended)(const struct subprocess_end *end, void *userdata);
};

struct subprocess_options {
    const char *program;     /* "gpuslice-http", beside the program that runs; or a path */
    const char *title;       /* for the log, "the HTTP program"; NULL = nothing is logged */
    const char *key, *value; /* an extra key-value pair for log lines; NULL = none */
    struct channel_options channel;
    uint64_t backoff_first_ms, backoff_last_ms; /* 0 = 100 ms, 30 s */
    uint64_t steady_ms;                         /* 0 = 10 s */
};

/* Starts nothing yet. Options are copied, texts as well. */
int subprocess_new(uv_loop_t *loop, const struct subprocess_options *options,
                   const struct subprocess_callbacks *callbacks, void *userdata,
                   struct subprocess **ret_subprocess, struct error *err);

/* Starts the first process, or fails for good. */
int subprocess_start(struct subprocess *subprocess, struct error *err);

/* Starts the first process in the loop's next turn; a failure is tried again. */
void subprocess_start_soon(struct subprocess *subprocess);

/* Ends the process by SIGKILL; no callback runs any more. The loop goes on until the process ended,
 * or is found stuck. NULL is fine. */
void subprocess_free(struct subprocess *subprocess);

/* Its channel, between on_up and on_down; else NULL. */
struct channel *subprocess_channel(const struct subprocess *subprocess);

/* The process that runs, or 0. */
pid_t subprocess_pid(const struct subprocess *subprocess);

/* Ends the process at once, by SIGKILL; another one is started. */
void subprocess_kill(struct subprocess *subprocess);

/* Starts none from now on: the process that runs is the last one, and is to end by itself. */
void subprocess_let_end(struct subprocess *subprocess);
