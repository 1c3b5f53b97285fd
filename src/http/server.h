// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * An HTTP server on a libuv loop, using libmicrohttpd: it has a table of pages, and asks its owner
 * for their content. Responses may come later; other requests are served in the meantime.
 *
 * No client blocks another: each gets half of the connections at most, and limited time per request
 * (clients.h).
 */

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"

struct server;
struct server_request; /* a request waiting for its response */

struct server_page {
    const char *path; /* "/metrics" */
    const char *type; /* its Content-Type */
    uint16_t kind;    /* the owner's name for it */
};

/* To be completed by server_answer, exactly once, possibly within this call. */
typedef void server_ask_fn(const struct server_page *page, struct server_request *request,
                           void *userdata);

/* A socket listening at the address that text names (base/address.h): its descriptor, or a negative
 * errno. */
int server_listen(const char *text, struct error *err);

struct server_setup {
    uv_loop_t *loop;
    int fd;                          /* that listens; the server takes ownership, also on failure */
    const struct server_page *pages; /* borrowed */
    size_t n_pages;
    server_ask_fn *ask;
    void *userdata;
};

int server_new(const struct server_setup *setup, struct server **ret_server, struct error *err);

/* Every request must have been completed. NULL is allowed. */
void server_free(struct server *server);

/* Copies body. */
void server_answer(struct server_request *request, unsigned http_status, const char *body,
                   size_t size);
