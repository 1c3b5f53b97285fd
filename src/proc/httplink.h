// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * /healthz, /readyz and /metrics: the agent's side, and gpuslice-controller's.
 *
 * A small separate program serves HTTP (gpuslice-http), so that the process the kubelet talks to
 * contains no HTTP library and no hostile client can block it. It sends a request for each page
 * (its kind is one of HTTPLINK_*, its body is empty); the response's kind is the HTTP status. It is
 * a child of the agent, or a container beside it that connects to the agent's socket. There a probe
 * (liveness.h) requests the same pages without HTTP.
 */

#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "base/text.h"

struct listener;

enum httplink_page { HTTPLINK_HEALTH = 1, HTTPLINK_READY, HTTPLINK_METRICS };

enum { HTTPLINK_MAX_BODY = 16 << 20 };

#define HTTPLINK_NAME  "http"  /* the program's, for its hello */
#define HTTPLINK_PROBE "probe" /* a probe's */

/* The program's second argument for restarts: its failure to serve is already logged. */
#define HTTPLINK_AGAIN "again"

/* The program's first argument if it is not a child; followed by the path of the agent's socket. */
#define HTTPLINK_CONNECT "--connect="

struct httplink;

/* Writes a page into body; returns the HTTP status. */
typedef unsigned httplink_answer_fn(enum httplink_page page, struct text *body, void *userdata);

struct httplink_options {
    struct listener *listener;       /* borrowed: where the program connects */
    struct listener *probe_listener; /* and where a probe does; NULL = there is none */
    const char *socket_path; /* without a listener: of one for the program alone, run by ours or
                                another user; NULL = the program is our child */
    const char *address;  /* of a child: an address that address_parse (base/address.h) accepts */
    uint64_t deadline_ms; /* of one that does not respond; a child is replaced, else disconnected */
};

int httplink_new(uv_loop_t *loop, const struct httplink_options *options,
                 httplink_answer_fn *answer, void *userdata, struct httplink **ret_httplink,
                 struct error *err);

/* Terminates the program; NULL is allowed. */
void httplink_free(struct httplink *httplink);
