// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A stream of a connection, and its messages to be written: one begun, and the newest one.
 *
 * Roles embed struct stream. The newest message replaces one that was not begun, because a kubelet
 * that does not read wants the latest list, not the history; and so a stream's memory is bounded.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rpc/frame.h"

struct connection;

struct outgoing {
    size_t size, sent;
    uint8_t bytes[]; /* prefix and message */
};

struct stream {
    struct connection *connection;
    struct stream *previous, *next;
    int32_t id;
    uint64_t due_ms;           /* loop time at which the role's `due` runs; 0 = never */
    struct frame_reader input; /* for the role's use */
    struct outgoing *begun;    /* being written */
    struct outgoing *newest;   /* next to be written; replaced by a newer one */
    bool last_queued;          /* after `newest` the stream ends on our side */
};

/* HTTP/2 header field; both strings are copied. */
struct field {
    const char *name, *value;
};

/* Enlists a stream that the peer opened (id > 0 and set). */
void stream_add(struct connection *connection, struct stream *stream);
/* Takes a stream out of the list and drops its buffers: it gets no event any more. */
void stream_remove(struct stream *stream);

/* Takes a stream out and tells its role `closed`; error: an HTTP/2 error code. */
void stream_end(struct stream *stream, uint32_t error);

/* Client: opens a stream; queued messages follow. Sets stream->id and enlists it. */
int stream_request(struct connection *connection, struct stream *stream, const struct field *fields,
                   size_t n_fields);
/* Server: header fields, then queued messages, then the role's trailers. */
int stream_respond(struct stream *stream, const struct field *fields, size_t n_fields);
/* Server: header fields that end the stream. */
int stream_respond_only(struct stream *stream, const struct field *fields, size_t n_fields);
int stream_trailers(struct stream *stream, const struct field *fields, size_t n_fields);

/* Copies a message; replaces one that was not begun. 0 or -ENOMEM. */
int stream_queue(struct stream *stream, const void *message, size_t size);
/* Our side ends after what is queued. */
void stream_queue_end(struct stream *stream);

/* HTTP/2 error codes that roles use (RFC 9113, section 7). */
enum {
    STREAM_NO_ERROR = 0,
    STREAM_PROTOCOL_ERROR = 1,
    STREAM_REFUSED = 7,
    STREAM_CANCEL = 8,
    STREAM_CONNECT_ERROR = 10,
    STREAM_ENHANCE_YOUR_CALM = 11,
    STREAM_INADEQUATE_SECURITY = 12,
};
void stream_reset(struct stream *stream, uint32_t error);

/* True while our side of the stream has not ended on the wire. */
bool stream_is_ours_open(const struct stream *stream);

/* now + after_ms, in loop time. */
void stream_set_due(struct stream *stream, uint64_t after_ms);
