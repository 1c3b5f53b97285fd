// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One HTTP/2 connection on a stream socket. connection.c moves the bytes, session.c handles
 * nghttp2's callbacks, stream.c submits; no other file uses the nghttp2 session.
 *
 * Server and client are roles: a connection owns the socket, the session, flow control, the message
 * queues of its streams and one timer; a role owns the streams themselves (it embeds struct stream)
 * and learns of events through struct connection_role.
 *
 * Invariants:
 * - Nothing is freed under a running callback. While the session is in use (`busy`) a connection is
 *   only marked, and closed when the outermost call returns. Its memory is freed once libuv has
 *   closed both handles, so that events of the same loop iteration never see a freed one.
 * - A stream in the list gets exactly one `closed`, then the role frees it.
 * - Bytes are buffered in three places, each bounded: one gathered write that did not fit into the
 *   socket, one message being sent and one waiting per stream, nghttp2's queue of control frames.
 *   While the socket is not writable and that queue is long, nothing more is read from the peer.
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
    /* The peer opened a stream (servers). NULL rejects it. The role calls stream_add. */
    struct stream *(*open)(struct connection *connection, int32_t id);
    /* 0, -ENOMEM, or an enum headers_outcome. */
    int (*header)(struct stream *stream, const uint8_t *name, size_t name_length,
                  const uint8_t *value, size_t value_length);
    void (*headers_end)(struct stream *stream, bool last);
    void (*data)(struct stream *stream, const uint8_t *bytes, size_t size);
    /* The peer closed its side. */
    void (*end)(struct stream *stream);
    /* Everything queued is written and our side ends: true if trailers were submitted. */
    bool (*trailers)(struct stream *stream);
    /* The stream is gone (error: an HTTP/2 error code) and out of the list: free it. */
    void (*closed)(struct stream *stream, uint32_t error);
    void (*due)(struct stream *stream);
    /* The connection is gone, after `closed` for every stream; the role drops its pointer. */
    void (*lost)(struct connection *connection, const char *why);
};

struct connection_limits {
    size_t streams;            /* the peer may have open; 0 for a client */
    size_t queued_bytes;       /* of unsent messages; beyond it the connection is closed */
    uint64_t first_frame_ms;   /* time limit for the peer's SETTINGS; 0 = no limit */
    uint64_t *protocol_errors; /* counter; NULL = not counted */
};

/* Takes ownership of the socket, also on failure. `owner` is the role's. 0 or negative errno. */
int connection_new(uv_loop_t *loop, int fd, bool is_server, const struct connection_role *role,
                   const struct connection_limits *limits, void *owner,
                   struct connection **ret_connection);

/* Closes the socket and ends every stream. The caller must not use the pointer afterwards. */
void connection_close(struct connection *connection, const char *why);

/* As connection_close, but in the next loop iteration: safe in any callback. */
void connection_close_soon(struct connection *connection, const char *why);

/* Detaches the owner: from now on no role callback runs except `closed`. */
void connection_disown(struct connection *connection);

/*
 * Two-phase GOAWAY: tells the peer to open no more streams, waits one round trip for those in
 * flight, and closes when all streams have ended, at the latest after grace_ms.
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
    uint64_t due_ms;   /* first frame, grace period: 0 = none */
    uint64_t armed_ms; /* when the timer expires; 0 = not armed */
    struct stream_message *unsent;
    size_t queued_bytes;
    const char *close_reason; /* why it is to be closed; NULL = it is not */
    enum shutdown_phase phase;
    unsigned busy;
    bool has_settings; /* the peer's SETTINGS arrived */
    bool failed;       /* nghttp2 failed: the session may only be deleted */
    bool flush_asked;  /* something was submitted outside a read callback */
    bool is_server, closed;
};

/* The timer fires at due_ms (loop time) or earlier; 0 = no deadline. */
void connection_arm(struct connection *connection, uint64_t due_ms);
/* Sets it to the earliest pending deadline. */
void connection_rearm(struct connection *connection);

/* Something was submitted: written in the next loop iteration, or on leaving the session. */
void connection_ask_flush(struct connection *connection);

void connection_count_error(struct connection *connection);
