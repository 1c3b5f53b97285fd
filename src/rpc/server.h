// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A gRPC server on one unix socket, driven by a libuv loop.
 *
 * A unary handler runs once its request is complete (END_STREAM), so a truncated request runs
 * nothing. It replies immediately, or keeps the call and replies later. A streaming handler
 * receives its single request the same way and then sends messages until either side ends. While
 * the peer does not read, a stream keeps only the newest unsent message: a kubelet wants the latest
 * list, not the history.
 *
 * Bounds, so that no peer makes the process grow: see struct rpc_limits.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "base/error.h"
#include "rpc/call.h"

struct rpc_server;

struct rpc_limits {
    size_t message_bytes;    /* larger requests are RESOURCE_EXHAUSTED; 0 = 4 MiB as in grpc-go */
    size_t connections;      /* further ones are closed immediately; 0 = 64 */
    size_t streams;          /* per connection, further ones are refused; 0 = 4096 */
    size_t queued_bytes;     /* of responses per connection, beyond it is closed; 0 = 64 MiB */
    uint64_t first_frame_ms; /* a silent connection is closed after this; 0 = 10 000 */
    int allowed_uid;         /* user id allowed besides root and our own; -1 = none */
    bool leaves_socket;      /* keep the socket file when the server is freed, as a kubelet does */
};

#define RPC_LIMITS_DEFAULT \
    {                      \
        .allowed_uid = -1  \
    }

/* All of it is borrowed, and must outlive the server but for the limits. */
struct rpc_service {
    const struct rpc_method *methods;
    size_t n_methods;
    const struct rpc_limits *limits; /* NULL = all defaults */
    void *userdata;
};

/*
 * Listens on `path` (mode 0600; replaces an older socket file) and serves. Unknown methods
 * are UNIMPLEMENTED.
 */
int rpc_server_new(uv_loop_t *loop, const char *path, const struct rpc_service *service,
                   struct rpc_server **ret_server, struct error *err);

/*
 * Stops listening, removes the socket file if it is still ours (same inode) and leaves_socket is
 * not set, sends GOAWAY to peers, ends open calls as UNAVAILABLE (their on_gone runs before this
 * returns) and frees the server once libuv has closed the handles. NULL is allowed.
 */
void rpc_server_free(struct rpc_server *server);

/* False if somebody removed or replaced the socket file (the kubelet wipes its directory). */
bool rpc_server_socket_is_ours(const struct rpc_server *server);

const struct rpc_counters *rpc_server_counters(const struct rpc_server *server);
