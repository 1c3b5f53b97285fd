// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * /healthz, /readyz and /metrics: the agent's side.
 *
 * HTTP is spoken by a small program of its own (gpuslice-http), so that the process the kubelet
 * talks to carries no HTTP library and no hostile client can hold it up. It sends a request for
 * each page (its kind is one of HTTPLINK_*, its body is empty); the answer's kind is the HTTP
 * status. It is a child of the agent, or a container beside it that connects to the agent's socket.
 */

#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "base/text.h"

struct listener;

enum httplink_page { HTTPLINK_HEALTH = 1, HTTPLINK_READY, HTTPLINK_METRICS };

enum { HTTPLINK_MAX_BODY = 16 << 20 };

#define HTTPLINK_NAME "http" /* the program's, for its hello */

/* The program's second argument when it is started again: why it cannot serve was said before. */
#define HTTPLINK_AGAIN "again"

/* The program's first argument where it is no child; the path of the agent's socket follows. */
#define HTTPLINK_CONNECT "--connect="

struct httplink;

/* Writes a page into body; returns the HTTP status. */
typedef unsigned httplink_answer_fn(enum httplink_page page, struct text *body, void *userdata);

struct httplink_options {
    struct listener *listener; /* borrowed: where the program connects; NULL = it is our child */
    const char *address;       /* of a child: one that address_parse (base/address.h) takes */
    uint64_t deadline_ms;      /* of a child that does not answer; it is replaced */
};

int httplink_new(uv_loop_t *loop, const struct httplink_options *options,
                 httplink_answer_fn *answer, void *userdata, struct httplink **ret_httplink,
                 struct error *err);

/* Ends the program; NULL is fine. */
void httplink_free(struct httplink *httplink);
