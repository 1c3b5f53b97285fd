// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A gRPC server on one unix socket, driven by a libuv loop.
 *
 * A unary handler runs once its request is complete (END_STREAM), so a torn request runs nothing.
 * It answers at once or keeps the call and answers later. A streaming handler gets its one request
 * the same way and then sends messages until either side ends. While the peer does not read, a
 * stream keeps only the newest message not yet begun: a kubelet wants the latest list, not the
 * history.
 *
 * A call belongs to the server. It stays valid until rpc_call_finish, or until the handler's
 * `on_gone` ran (cancelled, deadline passed, connection lost, server stopped), whichever is first.
 *
 * Bounds, so that no peer makes the process grow: see struct rpc_limits.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "base/error.h"
#include "rpc/status.h"

struct rpc_server;
struct rpc_call;

typedef void rpc_handler_fn(struct rpc_call *call, const void *request, size_t size,
                            void *userdata);
typedef void rpc_gone_fn(struct rpc_call *call, void *call_data);

struct rpc_method {
    const char *path; /* "/v1beta1.DevicePlugin/Allocate" */
    rpc_handler_fn *handle;
};

struct rpc_limits {
    size_t message_bytes; /* a larger request is RESOURCE_EXHAUSTED; 0 = 4 MiB as grpc-go has it */
    size_t connections;   /* more are closed at once; 0 = 64 */
    size_t streams;       /* per connection, more are refused; 0 = 4096 */
    size_t queued_bytes;  /* of answers per connection, then it is closed; 0 = 64 MiB */
    uint64_t first_frame_ms; /* a connection that says nothing is closed after it; 0 = 10 000 */
    int allowed_uid;         /* peers' user id besides root and our own; -1 = no other */
    bool leaves_socket;      /* its file stays when the server is freed, as a kubelet's does */
};

#define RPC_LIMITS_DEFAULT \
    {                      \
        .allowed_uid = -1  \
    }

/* What a server has seen; a program's metrics read it. */
struct rpc_counters {
    uint64_t connections, calls, failed_calls, cancelled_calls, protocol_errors;
};

/* All of it is borrowed, and must outlive the server but for the limits. */
struct rpc_service {
    const struct rpc_method *methods;
    size_t n_methods;
    const struct rpc_limits *limits; /* NULL = all defaults */
    void *userdata;
};

/*
 * Listens on `path` (mode 0600; an older socket file there is replaced) and serves. Unknown methods
 * are UNIMPLEMENTED.
 */
int rpc_server_new(uv_loop_t *loop, const char *path, const struct rpc_service *service,
                   struct rpc_server **ret_server, struct error *err);

/*
 * Stops listening, removes the socket file if it is still ours (same inode) and not to stay, tells
 * peers with GOAWAY, ends open calls as UNAVAILABLE (their on_gone runs before this returns) and
 * frees the server once libuv has let go of the handles. NULL is fine.
 */
void rpc_server_free(struct rpc_server *server);

/* False when the socket file was removed or replaced by somebody else (kubelet cleans its folder).
 */
bool rpc_server_socket_is_ours(const struct rpc_server *server);

const struct rpc_counters *rpc_server_counters(const struct rpc_server *server);

/* Attaches the caller's data to a call it keeps, and a function that runs if the call goes away. */
void rpc_call_keep(struct rpc_call *call, void *call_data, rpc_gone_fn *on_gone);

/* The server's userdata. */
void *rpc_call_userdata(const struct rpc_call *call);

/*
 * Queues one message, which is copied. On a stream it replaces a queued message that was not begun.
 * -ENOMEM only; the call is then ended as RESOURCE_EXHAUSTED (on_gone runs).
 */
int rpc_call_send(struct rpc_call *call, const void *message, size_t size);

/* Ends the call: status and, if not OK, a sentence for people (NULL = none). The call is gone then.
 */
void rpc_call_finish(struct rpc_call *call, enum rpc_status status, const char *text);

/* rpc_call_send + rpc_call_finish(RPC_OK), the end of every unary handler that succeeded. */
void rpc_call_reply(struct rpc_call *call, const void *message, size_t size);
