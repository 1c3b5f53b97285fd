// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A stream of a connection, and its unsent messages: the one being sent, and the newest one.
 *
 * Roles embed struct stream. The newest message replaces one of which nothing was sent, because a
 * slow kubelet wants the latest list, not the history; this also bounds a stream's memory.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rpc/frame.h"

struct connection;

struct stream_message {
    size_t size, sent;
    uint8_t bytes[]; /* prefix and message */
};

struct stream {
    struct connection *connection;
    struct stream *previous, *next;
    int32_t id;
    uint64_t due_ms;               /* loop time at which the role's `due` is called; 0 = never */
    struct frame_reader input;     /* for the role's use */
    struct stream_message *begun;  /* being sent */
    struct stream_message *newest; /* sent next; replaced by a newer one */
    bool last_queued;              /* our side of the stream ends after `newest` */
};

/* HTTP/2 header field; both strings are copied. */
struct field {
    const char *name, *value;
};

/* Adds a stream that the peer opened (id > 0 and set) to the list. */
void stream_add(struct connection *connection, struct stream *stream);
/* Removes a stream from the list and drops its buffers: it gets no further events. */
void stream_remove(struct stream *stream);

/* Removes a stream and calls its role's `closed`; error: an HTTP/2 error code. */
void stream_end(struct stream *stream, uint32_t error);

/* Client: opens a stream; queued messages follow. Sets stream->id and adds it to the list. */
int stream_request(struct connection *connection, struct stream *stream, const struct field *fields,
                   size_t n_fields);
/* Server: header fields, then queued messages, then the role's trailers. */
int stream_respond(struct stream *stream, const struct field *fields, size_t n_fields);
/* Server: header fields that end the stream. */
int stream_respond_only(struct stream *stream, const struct field *fields, size_t n_fields);
int stream_trailers(struct stream *stream, const struct field *fields, size_t n_fields);

/* Queues a copy of a message; replaces one of which nothing was sent. 0 or -ENOMEM. */
int stream_queue(struct stream *stream, const void *message, size_t size);
/* Our side ends after the queued messages. */
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

/* True until our side of the stream has ended on the wire. */
bool stream_is_ours_open(const struct stream *stream);

/* now + after_ms, in loop time. */
void stream_set_due(struct stream *stream, uint64_t after_ms);
