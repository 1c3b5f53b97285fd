// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * /healthz, /readyz and /metrics: the agent's side.
 *
 * HTTP is spoken by a small program of its own (gpuslice-http), so that the process the kubelet
 * talks to carries no HTTP library and no hostile client can hold it up. That program asks over a
 * socket pair, one byte a question (REPORT_*); the answer is a struct report_header and that many
 * bytes. It is started again, with a back-off, when it ends.
 */

#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "base/text.h"

enum { REPORT_HEALTH = 'h', REPORT_READY = 'r', REPORT_METRICS = 'm' };

struct report_header {
    uint32_t http_status;
    uint32_t size;
};

enum { REPORT_FD = 3 }; /* the program's end of the pair */

/* The program's second argument when it is started again: why it cannot serve was said before. */
#define REPORT_AGAIN "again"

struct reporter;

/* Writes the answer to one question into body; returns the HTTP status. */
typedef unsigned reporter_answer_fn(char question, struct text *body, void *userdata);

/* address: one that address_parse (base/address.h) takes. */
int reporter_new(uv_loop_t *loop, const char *address, reporter_answer_fn *answer, void *userdata,
                 struct reporter **ret_reporter, struct error *err);

/* Ends the program; NULL is fine. */
void reporter_free(struct reporter *reporter);
