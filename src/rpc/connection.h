// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One HTTP/2 connection on a stream socket. connection.c moves the bytes, session.c hears nghttp2's
 * callbacks, stream.c submits; no other file touches an nghttp2 session.
 *
 * Server and client are roles: a connection owns the socket, the session, flow control, the message
 * queues of its streams and one timer; a role owns the streams themselves (it embeds struct stream)
 * and learns of events through struct connection_role.
 *
 * Invariants:
 * - Nothing is freed under a running callback. While the session is at work (`busy`) a connection
 * is only marked and closed when the outermost entry returns. Its memory goes when libuv has let go
 * of both handles, so no event of the same loop turn can name a freed one.
 * - A stream in the list gets exactly one `closed`, then the role frees it.
 * - Bytes wait in three places, each bounded: one gathered write that the socket did not take, one
 *   message begun and one not begun per stream, nghttp2's queue of control frames. While the socket
 *   takes nothing and that queue is long, nothing more is read from the peer.
 * - An idle connection owns no armed timer.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "rpc/stream.h"

struct connection;
struct nghttp2_session;

struct connection_role {
    /* The peer opened a stream (servers). NULL refuses it. The role calls stream_add. */
    struct stream *(*open)(struct connection *connection, int32_t id);
    /* 0, -ENOMEM, or an enum headers_outcome. */
    int (*header)(struct stream *stream, const uint8_t *name, size_t name_length,
                  const uint8_t *value, size_t value_length);
    void (*headers_end)(struct stream *stream, bool last);
    void (*data)(struct stream *stream, const uint8_t *bytes, size_t size);
    /* The peer ended its side. */
    void (*end)(struct stream *stream);
    /* All that was queued is written and our side ends: true when trailers were submitted. */
    bool (*trailers)(struct stream *stream);
    /* The stream is gone (error: an HTTP/2 error code) and out of the list: free it. */
    void (*closed)(struct stream *stream, uint32_t error);
    void (*due)(struct stream *stream);
    /* The connection is gone, after `closed` of every stream; the role drops its pointer. */
    void (*lost)(struct connection *connection, const char *why);
};

struct connection_limits {
    size_t streams;            /* the peer may have open; 0 for a client */
    size_t queued_bytes;       /* of messages to be written, then the connection is closed */
    uint64_t first_frame_ms;   /* the peer's SETTINGS must have come by then; 0 = no limit */
    uint64_t *protocol_errors; /* counts them; NULL = nobody does */
};

/* Takes the socket over, also on failure. `owner` is the role's. 0 or negative errno. */
int connection_new(uv_loop_t *loop, int fd, bool is_server, const struct connection_role *role,
                   const struct connection_limits *limits, void *owner,
                   struct connection **ret_connection);

/* Closes the socket and ends every stream. The pointer is dead for the caller afterwards. */
void connection_close(struct connection *connection, const char *why);

/* As connection_close, but after this loop turn: safe in any callback. */
void connection_close_soon(struct connection *connection, const char *why);

/* Forgets the owner: from here on no function of the role runs except `closed`. */
void connection_disown(struct connection *connection);

/*
 * Two-phase GOAWAY: tells the peer to open no more streams, waits one round trip for those under
 * way, ends when all streams ended, at the latest after grace_ms.
 */
void connection_shut_down(struct connection *connection, uint64_t grace_ms);

void *connection_owner(const struct connection *connection);
/* False after GOAWAY or close. */
bool connection_may_open(const struct connection *connection);

/* First stream of the list, or NULL. */
struct stream *connection_streams(const struct connection *connection);

/* ---- for session.c and stream.c, which share the room ---- */

enum shutdown_phase { RUNNING, NOTICED, GOING };

struct connection {
    uv_loop_t *loop;
    int fd;
    uv_poll_t poll;
    uv_timer_t timer;
    int open_handles;
    int polled; /* events asked of libuv */
    struct nghttp2_session *session;
    const struct connection_role *role;
    struct connection_limits limits;
    void *owner;
    struct stream *streams, *cursor;
    uint64_t due_ms;   /* first frame, grace: 0 = none */
    uint64_t armed_ms; /* when the timer runs out; 0 = not armed */
    struct outgoing *unsent;
    size_t queued_bytes;
    const char *doomed; /* why it is to be closed; NULL = it is not */
    enum shutdown_phase phase;
    unsigned busy;
    bool greeted;     /* the peer's SETTINGS came */
    bool failed;      /* nghttp2 gave up: the session may only be deleted */
    bool flush_asked; /* something was submitted outside a read */
    bool is_server, closed;
};

/* The timer runs at due_ms (loop time) at the latest; 0 = whenever. */
void connection_arm(struct connection *connection, uint64_t due_ms);
/* Sets it to the earliest time that anything still waits for. */
void connection_rearm(struct connection *connection);

/* Something was submitted: it is written when the loop turns, or on the way out of the session. */
void connection_ask_flush(struct connection *connection);

void connection_count_error(struct connection *connection);
