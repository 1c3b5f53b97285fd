// SPDX-License-Identifier: Apache-2.0
#include "rpc/stream.h"

#include <assert.h>
#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "rpc/connection.h"
#include "rpc/session.h"

enum { MAX_FIELDS = 8 };

/* ---- list of streams ---- */

void stream_add(struct connection *connection, struct stream *stream)
{
    stream->connection = connection;
    stream->previous = NULL;
    stream->next = connection->streams;
    if (stream->next)
        stream->next->previous = stream;
    connection->streams = stream;
}

static void drop_outgoing(struct connection *c, struct stream_message **message)
{
    if (*message)
        c->queued_bytes -= (*message)->size;
    free(*message);
    *message = NULL;
}

void stream_remove(struct stream *stream)
{
    struct connection *c = stream->connection;

    if (c->cursor == stream)
        c->cursor = stream->next;
    if (stream->previous)
        stream->previous->next = stream->next;
    else
        c->streams = stream->next;
    if (stream->next)
        stream->next->previous = stream->previous;
    drop_outgoing(c, &stream->begun);
    drop_outgoing(c, &stream->newest);
    frame_reader_deinit(&stream->input);
    if (c->session)
        nghttp2_session_set_stream_user_data(c->session, stream->id, NULL);
    if (!c->streams && !c->closed)
        connection_rearm(c);
}

void stream_end(struct stream *stream, uint32_t error)
{
    const struct connection_role *role = stream->connection->role;

    stream_remove(stream);
    role->closed(stream, error);
}

/* ---- messages ---- */

static ssize_t read_message(nghttp2_session *session, int32_t stream_id, uint8_t *buffer,
                            size_t size, uint32_t *flags, nghttp2_data_source *source,
                            void *userdata)
{
    struct connection *c = userdata;
    struct stream *stream = nghttp2_session_get_stream_user_data(session, stream_id);
    size_t n = 0;

    if (!stream)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (!stream->begun)
        stream->begun = TAKE_PTR(stream->newest);
    if (stream->begun) {
        struct stream_message *message = stream->begun;

        n = message->size - message->sent;
        n = n < size ? n : size;
        memcpy(buffer, message->bytes + message->sent, n);
        message->sent += n;
        if (message->sent == message->size)
            drop_outgoing(c, &stream->begun);
    }
    if (stream->begun || stream->newest)
        return (ssize_t)n;
    if (!stream->last_queued)
        return n > 0 ? (ssize_t)n : NGHTTP2_ERR_DEFERRED;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (c->role->trailers && c->role->trailers(stream))
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    return (ssize_t)n;
}

/* ---- header fields ---- */

static size_t make_fields(nghttp2_nv *nvs, const struct field *fields, size_t n)
{
    assert(n <= MAX_FIELDS);
    for (size_t i = 0; i < n; i++) {
        nvs[i] = (nghttp2_nv){
            .name = (uint8_t *)(uintptr_t)fields[i].name,
            .value = (uint8_t *)(uintptr_t)fields[i].value,
            .namelen = strlen(fields[i].name),
            .valuelen = strlen(fields[i].value),
            .flags = NGHTTP2_NV_FLAG_NONE,
        };
    }
    return n;
}

int stream_request(struct connection *connection, struct stream *stream, const struct field *fields,
                   size_t n_fields)
{
    nghttp2_data_provider provider = {.read_callback = read_message};
    nghttp2_nv nvs[MAX_FIELDS];
    size_t n = make_fields(nvs, fields, n_fields);
    int r = nghttp2_submit_request(connection->session, NULL, nvs, n, &provider, stream);

    if (r < 0)
        return session_errno(r);
    stream->id = r;
    stream_add(connection, stream);
    connection_ask_flush(connection);
    return 0;
}

int stream_respond(struct stream *stream, const struct field *fields, size_t n_fields)
{
    nghttp2_data_provider provider = {.read_callback = read_message};
    nghttp2_nv nvs[MAX_FIELDS];
    size_t n = make_fields(nvs, fields, n_fields);

    connection_ask_flush(stream->connection);
    return session_errno(
        nghttp2_submit_response(stream->connection->session, stream->id, nvs, n, &provider));
}

int stream_respond_only(struct stream *stream, const struct field *fields, size_t n_fields)
{
    nghttp2_nv nvs[MAX_FIELDS];
    size_t n = make_fields(nvs, fields, n_fields);

    connection_ask_flush(stream->connection);
    return session_errno(
        nghttp2_submit_response(stream->connection->session, stream->id, nvs, n, NULL));
}

int stream_trailers(struct stream *stream, const struct field *fields, size_t n_fields)
{
    nghttp2_nv nvs[MAX_FIELDS];
    size_t n = make_fields(nvs, fields, n_fields);

    return session_errno(nghttp2_submit_trailer(stream->connection->session, stream->id, nvs, n));
}

static void resume(struct stream *stream)
{
    /* Fails if the stream is not waiting for data, which is fine. */
    (void)nghttp2_session_resume_data(stream->connection->session, stream->id);
    connection_ask_flush(stream->connection);
}

int stream_queue(struct stream *stream, const void *message, size_t size)
{
    struct connection *c = stream->connection;
    struct stream_message *queued;

    queued = malloc(sizeof(*queued) + FRAME_PREFIX_BYTES + size);
    if (!queued)
        return -ENOMEM;
    queued->size = FRAME_PREFIX_BYTES + size;
    queued->sent = 0;
    frame_write_prefix(queued->bytes, size);
    if (size > 0)
        memcpy(queued->bytes + FRAME_PREFIX_BYTES, message, size);
    drop_outgoing(c, &stream->newest);
    stream->newest = queued;
    c->queued_bytes += queued->size;
    if (c->queued_bytes > c->limits.queued_bytes)
        connection_close_soon(c, "the peer does not read its responses");
    if (stream->id > 0)
        resume(stream);
    return 0;
}

void stream_queue_end(struct stream *stream)
{
    stream->last_queued = true;
    if (stream->id > 0)
        resume(stream);
}

void stream_reset(struct stream *stream, uint32_t error)
{
    nghttp2_submit_rst_stream(stream->connection->session, NGHTTP2_FLAG_NONE, stream->id, error);
    connection_ask_flush(stream->connection);
}

bool stream_is_ours_open(const struct stream *stream)
{
    return nghttp2_session_get_stream_local_close(stream->connection->session, stream->id) == 0;
}

void stream_set_due(struct stream *stream, uint64_t after_ms)
{
    struct connection *c = stream->connection;

    /* Loop time does not advance during a callback; a deadline counts from now. */
    uv_update_time(c->loop);
    stream->due_ms = uv_now(c->loop) + after_ms + 1;
    if (stream->due_ms < after_ms)
        stream->due_ms = UINT64_MAX;
    connection_arm(c, stream->due_ms);
}
