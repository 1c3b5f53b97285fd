// SPDX-License-Identifier: Apache-2.0
#include "rpc/server.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "rpc/call.h"
#include "rpc/connection.h"
#include "rpc/stream.h"

enum {
    DEFAULT_MESSAGE_BYTES = 4 << 20,
    DEFAULT_CONNECTIONS = 64,
    DEFAULT_STREAMS = 4096,
    DEFAULT_QUEUED_BYTES = 64 << 20,
    DEFAULT_FIRST_FRAME_MS = 10000,
    ACCEPTS_PER_TURN = 16,
    BACKLOG = 128,
    STOP_GRACE_MS = 500,
};

struct rpc_server {
    uv_loop_t *loop;
    uv_poll_t listener;
    int listen_fd;
    int spare_fd; /* closed temporarily to accept and reject when descriptors run out */
    char *path;
    dev_t device; /* of our socket file */
    ino_t inode;
    struct rpc_limits limits;
    struct call_host host;
    struct connection **connections;
    size_t n_connections;
    unsigned references; /* one for the listener and one per connection */
};

/* ---- connections ---- */

static void unref(struct rpc_server *server)
{
    if (--server->references > 0)
        return;
    assert(server->n_connections == 0);
    free(server->connections);
    free(server->path);
    free(server);
}

static void on_lost(struct connection *connection, const char *why)
{
    struct rpc_server *server = connection_owner(connection);

    (void)why;
    for (size_t i = 0; i < server->n_connections; i++) {
        if (server->connections[i] != connection)
            continue;
        server->connections[i] = server->connections[--server->n_connections];
        break;
    }
    unref(server);
}

static struct stream *on_open(struct connection *connection, int32_t id)
{
    struct rpc_server *server = connection_owner(connection);

    return call_open(&server->host, connection, id);
}

static const struct connection_role server_role = {
    .open = on_open,
    .header = call_header,
    .headers_end = call_headers_end,
    .data = call_data,
    .end = call_end,
    .trailers = call_trailers,
    .closed = call_closed,
    .due = call_due,
    .lost = on_lost,
};

static bool is_peer_allowed(const struct rpc_server *server, int fd)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        return false;
    return peer.uid == 0 || peer.uid == geteuid() ||
           (server->limits.allowed_uid >= 0 && peer.uid == (uid_t)server->limits.allowed_uid);
}

static void take_connection(struct rpc_server *server, int accepted_fd)
{
    struct connection_limits limits = {
        .streams = server->limits.streams,
        .queued_bytes = server->limits.queued_bytes,
        .first_frame_ms = server->limits.first_frame_ms,
        .protocol_errors = &server->host.counters.protocol_errors,
    };
    cleanup_close int fd = accepted_fd;
    struct connection *connection;

    server->host.counters.connections++;
    if (server->n_connections >= server->limits.connections || !is_peer_allowed(server, fd))
        return;
    if (connection_new(server->loop, TAKE_FD(fd), true, &server_role, &limits, server,
                       &connection) < 0)
        return;
    server->connections[server->n_connections++] = connection;
    server->references++;
}

/* Without free descriptors a waiting peer would keep the loop spinning: accept it and hang up. */
static void reject_one(struct rpc_server *server)
{
    int fd;

    close(server->spare_fd);
    fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0)
        close(fd);
    server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void on_connect(uv_poll_t *poll, int status, int events)
{
    struct rpc_server *server = poll->data;

    (void)status;
    (void)events;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd >= 0) {
            take_connection(server, fd);
        } else if (errno == EMFILE || errno == ENFILE) {
            reject_one(server);
        } else {
            break;
        }
    }
}

/* ---- life ---- */

static void set_default(size_t *limit, size_t value)
{
    if (*limit == 0)
        *limit = value;
}

static struct rpc_limits with_defaults(const struct rpc_limits *limits)
{
    struct rpc_limits l = limits ? *limits : (struct rpc_limits)RPC_LIMITS_DEFAULT;

    set_default(&l.message_bytes, DEFAULT_MESSAGE_BYTES);
    set_default(&l.connections, DEFAULT_CONNECTIONS);
    set_default(&l.streams, DEFAULT_STREAMS);
    set_default(&l.queued_bytes, DEFAULT_QUEUED_BYTES);
    if (l.first_frame_ms == 0)
        l.first_frame_ms = DEFAULT_FIRST_FRAME_MS;
    return l;
}

static int remove_old_socket(const char *path, struct error *err)
{
    struct stat old;

    if (lstat(path, &old) < 0)
        return errno == ENOENT ? 0 : error_set_errno(err, -errno, "cannot stat %s", path);
    if (!S_ISSOCK(old.st_mode))
        return error_set(err, -EEXIST, "%s exists and is not a socket", path);
    if (unlink(path) < 0 && errno != ENOENT)
        return error_set_errno(err, -errno, "cannot remove the old socket %s", path);
    return 0;
}

static int open_listener(const char *path, int *ret_fd, struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    cleanup_close int fd = -1;
    int r;

    if (strlen(path) >= sizeof(address.sun_path))
        return error_set(err, -ENAMETOOLONG, "the socket path %s is longer than %zu bytes", path,
                         sizeof(address.sun_path) - 1);
    memcpy(address.sun_path, path, strlen(path) + 1);
    r = remove_old_socket(path, err);
    if (r < 0)
        return r;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_set_errno(err, -errno, "cannot create a socket");
    /* Linux creates the file with the socket's own mode, so it is never more permissive than
     * this. */
    if (fchmod(fd, 0600) < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(fd, BACKLOG) < 0)
        return error_set_errno(err, -errno, "cannot listen on %s", path);
    *ret_fd = TAKE_FD(fd);
    return 0;
}

/* Our listening socket keeps the inode alive, so its number cannot be reused by another file. */
static int remember_inode(struct rpc_server *server, struct error *err)
{
    struct stat made;

    if (lstat(server->path, &made) < 0)
        return error_set_errno(err, -errno, "cannot stat %s", server->path);
    server->device = made.st_dev;
    server->inode = made.st_ino;
    return 0;
}

static int start_listening(struct rpc_server *server, struct error *err)
{
    int r = uv_poll_init(server->loop, &server->listener, server->listen_fd);

    if (r < 0)
        return error_set_errno(err, r, "cannot watch %s", server->path);
    server->listener.data = server;
    server->references = 1;
    uv_poll_start(&server->listener, UV_READABLE, on_connect);
    return 0;
}

static void discard(struct rpc_server *server)
{
    if (server->listen_fd >= 0)
        close(server->listen_fd);
    if (server->spare_fd >= 0)
        close(server->spare_fd);
    free(server->connections);
    free(server->path);
    free(server);
}
DEFINE_CLEANUP(struct rpc_server *, discard)

int rpc_server_new(uv_loop_t *loop, const char *path, const struct rpc_service *service,
                   struct rpc_server **ret_server, struct error *err)
{
    cleanup(discard_p) struct rpc_server *server = calloc(1, sizeof(*server));
    int r;

    if (!server)
        return error_set_errno(err, -ENOMEM, "cannot listen on %s", path);
    server->loop = loop;
    server->listen_fd = -1;
    server->limits = with_defaults(service->limits);
    server->host = (struct call_host){
        .methods = service->methods,
        .n_methods = service->n_methods,
        .message_bytes = server->limits.message_bytes,
        .userdata = service->userdata,
    };
    server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    server->path = strdup(path);
    server->connections = calloc(server->limits.connections, sizeof(struct connection *));
    if (!server->path || !server->connections)
        return error_set_errno(err, -ENOMEM, "cannot listen on %s", path);
    r = open_listener(path, &server->listen_fd, err);
    if (r == 0)
        r = remember_inode(server, err);
    if (r == 0)
        r = start_listening(server, err);
    if (r < 0)
        return r;
    *ret_server = TAKE_PTR(server);
    return 0;
}

bool rpc_server_socket_is_ours(const struct rpc_server *server)
{
    struct stat now;

    return lstat(server->path, &now) == 0 && now.st_dev == server->device &&
           now.st_ino == server->inode;
}

const struct rpc_counters *rpc_server_counters(const struct rpc_server *server)
{
    return &server->host.counters;
}

static void on_listener_closed(uv_handle_t *handle)
{
    unref(handle->data);
}

static void end_calls(struct connection *connection)
{
    for (struct stream *s = connection_streams(connection); s; s = s->next)
        call_stop(s);
}

void rpc_server_free(struct rpc_server *server)
{
    if (!server)
        return;
    server->host.stopped = true;
    if (!server->limits.leaves_socket && rpc_server_socket_is_ours(server))
        unlink(server->path);
    uv_close((uv_handle_t *)&server->listener, on_listener_closed);
    close(server->listen_fd);
    if (server->spare_fd >= 0)
        close(server->spare_fd);
    /* A connection that closes immediately leaves the array: a later one takes its slot. */
    for (size_t i = server->n_connections; i-- > 0;) {
        end_calls(server->connections[i]);
        connection_shut_down(server->connections[i], STOP_GRACE_MS);
    }
}
