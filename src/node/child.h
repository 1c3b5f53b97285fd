// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A program of ours that runs beside the agent and talks with it over a socket pair.
 *
 * It lies in the folder of the program that runs now, finds its end of the pair at descriptor
 * CHILD_FD and our standard error as its own. When it ends it is started again, with a back-off
 * that is forgotten once it says something; its end is logged once until then. The program is to
 * end when its end of the pair closes.
 */

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "base/error.h"

struct child;

enum { CHILD_FD = 3 };

/* Any may be NULL. */
struct child_callbacks {
    void (*started)(void *userdata); /* a new process runs and can be written to */
    void (*said)(const char *bytes, size_t n, void *userdata);
    void (*written)(int status,
                    void *userdata); /* one for each child_write; not after child_free */
    void (*ended)(void *userdata);   /* it is started again, unless that was stopped */
};

struct child_options {
    const char *program;      /* its name, "gpuslice-http" */
    const char *title;        /* as the log calls it, "the HTTP program"; static */
    const char *arguments[3]; /* NULL = no further ones */
    const char *again;       /* one more argument when it is started again after trouble; or NULL */
    const char *key, *value; /* one more pair for the log's lines; NULL = none */
};

/* Starts it soon, not now. Options are copied. */
int child_new(uv_loop_t *loop, const struct child_options *options,
              const struct child_callbacks *callbacks, void *userdata, struct child **ret_child,
              struct error *err);

/* Closes the pair and ends the program; NULL is fine. No callback runs any more. */
void child_free(struct child *child);

/* True while the pair is open. */
bool child_is_open(const struct child *child);

/* True once the process that runs now has said something. */
bool child_has_spoken(const struct child *child);

/* Takes over bytes (malloc'ed, also on failure). -EPIPE when the pair is not open. */
int child_write(struct child *child, char *bytes, size_t n);

/* Not started again from now on. */
void child_let_end(struct child *child);
