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

/*
 * Listens on `path` (mode 0600; an older socket file there is replaced) and serves `methods`, which
 * is borrowed and must outlive the server. Unknown methods are UNIMPLEMENTED.
 */
int rpc_server_new(uv_loop_t *loop, const char *path, const struct rpc_method *methods,
                   size_t n_methods, const struct rpc_limits *limits, void *userdata,
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
