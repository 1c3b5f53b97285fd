// SPDX-License-Identifier: Apache-2.0
#include "rpc/connection.h"

#include <assert.h>
#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "rpc/session.h"
#include "rpc/stream.h"

enum {
    READ_BYTES = 16 << 10,
    GATHER_BYTES = 32 << 10, /* one write; large enough for any HTTP/2 frame of ours */
    READS_PER_TURN = 16,     /* per loop iteration, for fairness */
    LONG_QUEUE = 1000,       /* control frames: stop reading while the socket is not writable */
};

/* ---- timer ---- */

static void on_timer(uv_timer_t *timer);

void connection_arm(struct connection *c, uint64_t due_ms)
{
    uint64_t now = uv_now(c->loop);

    if (c->closed || due_ms == 0 || (c->armed_ms != 0 && c->armed_ms <= due_ms))
        return;
    c->armed_ms = due_ms;
    uv_timer_start(&c->timer, on_timer, due_ms > now ? due_ms - now : 0, 0);
}

static void disarm(struct connection *c)
{
    c->armed_ms = 0;
    uv_timer_stop(&c->timer);
}

void connection_rearm(struct connection *c)
{
    disarm(c);
    connection_arm(c, c->due_ms);
    for (struct stream *s = c->streams; s; s = s->next)
        connection_arm(c, s->due_ms);
}

/* ---- closing ---- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct connection *c = handle->data;

    if (--c->open_handles == 0)
        free(c);
}

void connection_close(struct connection *connection, const char *why)
{
    struct connection *c = connection;

    if (c->closed)
        return;
    if (c->busy) {
        c->close_reason = why;
        return;
    }
    c->closed = true;
    c->busy++;
    c->close_reason = why;
    uv_close((uv_handle_t *)&c->poll, on_handle_closed);
    uv_close((uv_handle_t *)&c->timer, on_handle_closed);
    close(c->fd);
    while (c->streams)
        stream_end(c->streams, NGHTTP2_CONNECT_ERROR);
    nghttp2_session_del(c->session);
    c->session = NULL;
    free(c->unsent);
    c->unsent = NULL;
    if (c->owner)
        c->role->lost(c, why);
}

void connection_close_soon(struct connection *connection, const char *why)
{
    if (!connection->close_reason)
        connection->close_reason = why;
    uv_update_time(connection->loop);
    connection_arm(connection, uv_now(connection->loop));
}

void connection_disown(struct connection *connection)
{
    connection->owner = NULL;
    connection->limits.protocol_errors = NULL;
}

void *connection_owner(const struct connection *connection)
{
    return connection->owner;
}

bool connection_may_open(const struct connection *connection)
{
    return !connection->closed && !connection->close_reason &&
           nghttp2_session_check_request_allowed(connection->session);
}

void connection_count_error(struct connection *c)
{
    if (c->limits.protocol_errors)
        (*c->limits.protocol_errors)++;
}

struct stream *connection_streams(const struct connection *connection)
{
    return connection->streams;
}

/* ---- writing ---- */

/* Number of bytes sent, possibly fewer than size; negative errno if the connection failed. */
static ssize_t send_some(struct connection *c, const uint8_t *bytes, size_t size)
{
    size_t sent = 0;

    while (sent < size) {
        ssize_t n = send(c->fd, bytes + sent, size - sent, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n >= 0)
            sent += (size_t)n;
        else if (errno == EAGAIN)
            break;
        else if (errno != EINTR)
            return -errno;
    }
    return (ssize_t)sent;
}

static struct stream_message *copy_unsent(const uint8_t *bytes, size_t size, const uint8_t *more,
                                          size_t more_size)
{
    struct stream_message *kept = malloc(sizeof(*kept) + size + more_size);

    if (!kept)
        return NULL;
    kept->size = size + more_size;
    kept->sent = 0;
    memcpy(kept->bytes, bytes, size);
    if (more_size > 0)
        memcpy(kept->bytes + size, more, more_size);
    return kept;
}

/* 0 = all sent, 1 = the rest is kept in `unsent`. */
static int send_or_keep(struct connection *c, const uint8_t *bytes, size_t size,
                        const uint8_t *more, size_t more_size)
{
    ssize_t sent = send_some(c, bytes, size);

    if (sent < 0)
        return (int)sent;
    if ((size_t)sent == size && more_size == 0)
        return 0;
    c->unsent = copy_unsent(bytes + sent, size - (size_t)sent, more, more_size);
    return c->unsent ? 1 : -ENOMEM;
}

static int send_unsent(struct connection *c)
{
    ssize_t n;

    if (!c->unsent)
        return 0;
    n = send_some(c, c->unsent->bytes + c->unsent->sent, c->unsent->size - c->unsent->sent);
    if (n < 0)
        return (int)n;
    c->unsent->sent += (size_t)n;
    if (c->unsent->sent < c->unsent->size)
        return 1;
    free(c->unsent);
    c->unsent = NULL;
    return 0;
}

/* A response is three small frames: gather them into one write. */
static int send_frames(struct connection *c)
{
    uint8_t gathered[GATHER_BYTES];
    size_t size = 0;
    int r = send_unsent(c);

    while (r == 0) {
        const uint8_t *frame;
        ssize_t n = nghttp2_session_mem_send(c->session, &frame);

        if (n < 0)
            return n == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EPROTO;
        if (n == 0)
            return size > 0 ? send_or_keep(c, gathered, size, NULL, 0) : 0;
        if (size + (size_t)n > sizeof(gathered)) {
            ssize_t sent = send_some(c, gathered, size);

            if (sent < 0)
                return (int)sent;
            if ((size_t)sent < size || (size_t)n > sizeof(gathered))
                return send_or_keep(c, gathered + sent, size - (size_t)sent, frame, (size_t)n);
            size = 0;
        }
        memcpy(gathered + size, frame, (size_t)n);
        size += (size_t)n;
    }
    return r;
}

static void on_poll(uv_poll_t *poll, int status, int events);

static void poll_again(struct connection *c)
{
    bool stuck = c->unsent && nghttp2_session_get_outbound_queue_size(c->session) > LONG_QUEUE;
    int events = (stuck ? 0 : UV_READABLE) | (c->unsent || c->flush_asked ? UV_WRITABLE : 0);

    if (events == c->polled)
        return;
    c->polled = events;
    uv_poll_start(&c->poll, events, on_poll);
}

/* Leaves the session: writes pending output, and closes the connection if that is due. */
static void settle(struct connection *c)
{
    assert(c->busy > 0);
    c->flush_asked = false;
    if (!c->failed && send_frames(c) < 0 && !c->close_reason)
        c->close_reason = "the connection failed";
    if (!c->close_reason && !c->unsent && !nghttp2_session_want_read(c->session) &&
        !nghttp2_session_want_write(c->session))
        c->close_reason = "the connection was closed";
    c->busy--;
    if (c->close_reason)
        connection_close(c, c->close_reason);
    else
        poll_again(c);
}

void connection_ask_flush(struct connection *c)
{
    if (c->closed)
        return;
    c->flush_asked = true;
    if (!c->busy)
        poll_again(c);
}

/* ---- reading ---- */

static void receive(struct connection *c, const uint8_t *bytes, size_t size)
{
    ssize_t n = nghttp2_session_mem_recv(c->session, bytes, size);

    if (n < 0) {
        connection_count_error(c);
        c->failed = true;
        c->close_reason = n == NGHTTP2_ERR_NOMEM ? "out of memory" : "the peer does not use HTTP/2";
    }
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct connection *c = poll->data;
    uint8_t buffer[READ_BYTES];

    /* libuv stops a handle whose socket reports an error; there may still be data to read. */
    if (status < 0)
        events = UV_READABLE;
    for (int i = 0; (i < READS_PER_TURN || status < 0) && events & UV_READABLE; i++) {
        ssize_t n = recv(c->fd, buffer, sizeof(buffer), MSG_DONTWAIT);
        bool more = n == (ssize_t)sizeof(buffer);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN && status == 0)
            break;
        if (n <= 0) {
            connection_close(c, "the connection was closed by the peer");
            return;
        }
        c->busy++;
        receive(c, buffer, (size_t)n);
        settle(c);
        if (c->closed)
            return;
        if (status == 0 && (!more || !(c->polled & UV_READABLE)))
            break;
    }
    if (events & UV_WRITABLE) {
        c->busy++;
        settle(c);
    }
}

/* By offset, not by timer->data: gcc 12's analyzer loses track of pointers stored there. */
static struct connection *connection_of_timer(uv_timer_t *timer)
{
    return (struct connection *)((char *)timer - offsetof(struct connection, timer));
}

static void on_timer(uv_timer_t *timer)
{
    struct connection *c = connection_of_timer(timer);
    uint64_t now = uv_now(c->loop);

    c->armed_ms = 0;
    c->busy++;
    if (c->due_ms != 0 && c->due_ms <= now && !c->close_reason)
        c->close_reason = c->has_settings ? "the grace period expired" : "the peer sent nothing";
    for (struct stream *s = c->streams; s && !c->close_reason; s = c->cursor) {
        c->cursor = s->next;
        if (s->due_ms == 0 || s->due_ms > now)
            continue;
        s->due_ms = 0;
        c->role->due(s);
    }
    c->cursor = NULL;
    settle(c);
    if (!c->closed)
        connection_rearm(c);
}

/* ---- life ---- */

static int add_handles(struct connection *c)
{
    int r = uv_poll_init(c->loop, &c->poll, c->fd);

    if (r < 0)
        return r;
    uv_timer_init(c->loop, &c->timer);
    c->poll.data = c;
    c->timer.data = c;
    c->open_handles = 2;
    return 0;
}

int connection_new(uv_loop_t *loop, int fd, bool is_server, const struct connection_role *role,
                   const struct connection_limits *limits, void *owner,
                   struct connection **ret_connection)
{
    cleanup_close int owned_fd = fd;
    cleanup_free struct connection *c = calloc(1, sizeof(*c));
    int r;

    if (!c)
        return -ENOMEM;
    c->loop = loop;
    c->fd = fd;
    c->role = role;
    c->limits = *limits;
    c->owner = owner;
    c->is_server = is_server;
    r = session_new(c);
    if (r == 0)
        r = add_handles(c);
    if (r < 0) {
        nghttp2_session_del(c->session);
        return r;
    }
    if (limits->first_frame_ms > 0) {
        uv_update_time(loop);
        c->due_ms = uv_now(loop) + limits->first_frame_ms;
        connection_arm(c, c->due_ms);
    }
    connection_ask_flush(c);
    (void)TAKE_FD(owned_fd);
    *ret_connection = TAKE_PTR(c);
    return 0;
}

void connection_shut_down(struct connection *connection, uint64_t grace_ms)
{
    struct connection *c = connection;

    if (c->closed)
        return;
    if (!c->has_settings) {
        connection_close(c, "the server is stopping");
        return;
    }
    nghttp2_submit_shutdown_notice(c->session);
    nghttp2_submit_ping(c->session, NGHTTP2_FLAG_NONE, NULL);
    c->phase = NOTICED;
    uv_update_time(c->loop);
    c->due_ms = uv_now(c->loop) + grace_ms;
    connection_arm(c, c->due_ms);
    if (c->busy)
        return;
    c->busy++;
    settle(c);
}
