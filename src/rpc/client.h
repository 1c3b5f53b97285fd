// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A gRPC client on one unix socket, driven by a libuv loop.
 *
 * The client connects immediately, without blocking. If the connection fails or breaks, every open
 * call ends as UNAVAILABLE and the client stays unusable: callers create a new one, with their own
 * back-off. `:authority` is "localhost", as sent by grpc-go's unix dialler.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "rpc/status.h"

struct rpc_client;
struct rpc_request;

/* One message of a streaming call (never called for a unary call). */
typedef void rpc_message_fn(struct rpc_request *request, const void *message, size_t size,
                            void *userdata);
/*
 * The call's end, exactly once unless it was cancelled. For a successful unary call, message is the
 * response; else message is NULL. `text` is the error message, the peer's or ours; never NULL.
 */
typedef void rpc_done_fn(struct rpc_request *request, enum rpc_status status, const char *text,
                         const void *message, size_t size, void *userdata);

int rpc_client_new(uv_loop_t *loop, const char *path, struct rpc_client **ret_client,
                   struct error *err);

/* Open calls end as CANCELLED without their callbacks. NULL is allowed. */
void rpc_client_free(struct rpc_client *client);

/* False once the connection failed. */
bool rpc_client_is_usable(const struct rpc_client *client);

struct rpc_invocation {
    const char *method;  /* "/v1beta1.Registration/Register" */
    const void *message; /* copied */
    size_t size;
    size_t max_bytes; /* of one message from the peer; 0 = 16 MiB, as of kubelet's own clients */
    uint64_t deadline_ms; /* 0 = none; sent as grpc-timeout and enforced here: DEADLINE_EXCEEDED */
    rpc_message_fn *on_message; /* NULL = unary: the response comes with on_done */
    rpc_done_fn *on_done;
    void *userdata;
};

/* Starts a call. on_done never runs from within this function; the request is freed after on_done
 * returns.
 */
int rpc_client_call(struct rpc_client *client, const struct rpc_invocation *invocation,
                    struct rpc_request **ret_request, struct error *err);

/* Resets the stream; the request is freed and none of its callbacks runs any more. */
void rpc_request_cancel(struct rpc_request *request);
