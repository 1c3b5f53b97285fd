// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * /healthz, /readyz and /metrics: the agent's side.
 *
 * HTTP is spoken by a small program of its own (gpuslice-http), so that the process the kubelet
 * talks to carries no HTTP library and no hostile client can hold it up. That program asks over a
 * socket pair, one byte a question (REPORT_*); the answer is a struct httplink_header and that many
 * bytes. It is started again, with a back-off, when it ends.
 */

#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "base/text.h"

enum { HTTPLINK_HEALTH = 'h', HTTPLINK_READY = 'r', HTTPLINK_METRICS = 'm' };

struct httplink_header {
    uint32_t http_status;
    uint32_t size;
};

enum { HTTPLINK_FD = 3 }; /* the program's end of the pair */

/* The program's second argument when it is started again: why it cannot serve was said before. */
#define HTTPLINK_AGAIN "again"

struct httplink;

/* Writes the answer to one question into body; returns the HTTP status. */
typedef unsigned httplink_answer_fn(char question, struct text *body, void *userdata);

/* address: one that address_parse (base/address.h) takes. */
int httplink_new(uv_loop_t *loop, const char *address, httplink_answer_fn *answer, void *userdata,
                 struct httplink **ret_httplink, struct error *err);

/* Ends the program; NULL is fine. */
void httplink_free(struct httplink *httplink);
