// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One call at the server: from the first header field of its request to the end of its stream.
 *
 * The functions are what a connection tells a role (connection.h); the program's side, rpc_call_*,
 * is in server.h. A call is READING until its request is whole, then RUNNING in the program's
 * hands, then ENDED while HTTP/2 says farewell. Only a RUNNING call has an `on_gone` to run, and it
 * runs once.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rpc/server.h"

struct connection;
struct stream;

/* What all calls of a server share; it outlives them. */
struct call_host {
    const struct rpc_method *methods;
    size_t n_methods;
    size_t message_bytes;
    struct rpc_counters counters;
    void *userdata;
    size_t buffered_bytes; /* of requests that are not complete */
    bool stopped;          /* refuse new ones */
};

struct stream *call_open(struct call_host *host, struct connection *connection, int32_t id);
int call_header(struct stream *stream, const uint8_t *name, size_t name_length,
                const uint8_t *value, size_t value_length);
void call_headers_end(struct stream *stream, bool last);
void call_data(struct stream *stream, const uint8_t *bytes, size_t size);
void call_end(struct stream *stream);
bool call_trailers(struct stream *stream);
void call_closed(struct stream *stream, uint32_t error);
void call_due(struct stream *stream);

/* The server stops: ends the call as UNAVAILABLE; its on_gone runs. */
void call_stop(struct stream *stream);
