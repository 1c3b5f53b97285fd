// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * An HTTP server on a libuv loop, by libmicrohttpd: it knows a table of pages, and asks its owner
 * for their content. Answers may come later; meanwhile other requests are served.
 *
 * No client holds up another: it gets half of the connections at most, and for each request a
 * limited time (clients.h).
 */

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"

struct server;
struct server_request; /* one that waits for its answer */

struct server_page {
    const char *path; /* "/metrics" */
    const char *type; /* its Content-Type */
    uint16_t kind;    /* what the owner calls it */
};

/* To be answered by server_answer, exactly once, also from within this call. */
typedef void server_ask_fn(const struct server_page *page, struct server_request *request,
                           void *userdata);

/* A socket that listens at this address (base/address.h): its descriptor, or a negative errno. */
int server_listen(const char *address, struct error *err);

/* Takes fd, also on failure. pages are borrowed. */
int server_new(uv_loop_t *loop, int fd, const struct server_page *pages, size_t n_pages,
               server_ask_fn *ask, void *userdata, struct server **ret_server, struct error *err);

/* Every request must have been answered. NULL is fine. */
void server_free(struct server *server);

/* Copies body. */
void server_answer(struct server_request *request, unsigned http_status, const char *body,
                   size_t size);
