// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One call at the server: from the first header field of its request to the end of its stream.
 *
 * A call belongs to the server. It stays valid until rpc_call_finish, or until the handler's
 * `on_gone` ran (cancelled, deadline passed, connection lost, server stopped), whichever is first.
 *
 * A call is READING until its request is whole, then RUNNING in the program's
 * hands, then ENDED until its HTTP/2 stream closes. Only a RUNNING call has an `on_gone` to run,
 * and it runs once.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rpc/status.h"

struct rpc_call;

typedef void rpc_handler_fn(struct rpc_call *call, const void *request, size_t size,
                            void *userdata);
typedef void rpc_gone_fn(struct rpc_call *call, void *call_data);

struct rpc_method {
    const char *path; /* "/v1beta1.DevicePlugin/Allocate" */
    rpc_handler_fn *handle;
};

/* Counters of a server, for the program's metrics. */
struct rpc_counters {
    uint64_t connections, calls, failed_calls, cancelled_calls, protocol_errors;
};

/* Attaches the caller's data to a call it keeps, and a callback for when the call goes away. */
void rpc_call_keep(struct rpc_call *call, void *call_data, rpc_gone_fn *on_gone);

/* The server's userdata. */
void *rpc_call_userdata(const struct rpc_call *call);

/*
 * Queues a copy of one message. On a stream it replaces a queued message of which nothing was sent.
 * -ENOMEM only; the call is then ended as RESOURCE_EXHAUSTED (on_gone runs).
 */
int rpc_call_send(struct rpc_call *call, const void *message, size_t size);

/* Ends the call: status and, if not OK, a message for people (NULL = none). The call is invalid
 * afterwards. */
void rpc_call_finish(struct rpc_call *call, enum rpc_status status, const char *text);

/* rpc_call_send + rpc_call_finish(RPC_OK), the end of every successful unary handler. */
void rpc_call_reply(struct rpc_call *call, const void *message, size_t size);

/* ---- for server.c: what a connection tells the server of its calls (connection.h) ---- */

struct connection;
struct stream;

/* Shared by all calls of a server; outlives them. */
struct call_host {
    const struct rpc_method *methods;
    size_t n_methods;
    size_t message_bytes;
    struct rpc_counters counters;
    void *userdata;
    size_t buffered_bytes; /* of incomplete requests */
    bool stopped;          /* reject new ones */
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

/* The server is stopping: ends the call as UNAVAILABLE; its on_gone runs. */
void call_stop(struct stream *stream);
