// SPDX-License-Identifier: Apache-2.0
#include "rpc/call.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "rpc/headers.h"
#include "rpc/stream.h"

enum { BUFFERED_MESSAGES = 8 /* all pending requests together hold at most 8 of maximum size */ };

enum call_state {
    CALL_READING, /* its request is being received */
    CALL_RUNNING, /* being handled by the program */
    CALL_ENDED,   /* only the HTTP/2 stream is left to close */
};

struct rpc_call {
    struct stream stream;
    struct call_host *host;
    const struct rpc_method *method;
    struct request_headers headers;
    enum call_state state;
    bool answered; /* response headers have been sent */
    size_t buffered_bytes;
    void *data;
    rpc_gone_fn *on_gone;
    enum rpc_status status;
    char *text; /* of the trailers; NULL = none */
};

static struct rpc_call *call_of(struct stream *stream)
{
    static_assert(offsetof(struct rpc_call, stream) == 0, "a call must begin with its stream");
    return (struct rpc_call *)stream;
}

/* ---- ending calls ---- */

/* grpc-status and grpc-message; `buffers` hold the values. */
struct status_fields {
    char number[12];
    char text[3 * 512];
};

static size_t make_status_fields(struct field *fields, struct status_fields *buffers,
                                 enum rpc_status status, const char *text)
{
    size_t n = 0;

    snprintf(buffers->number, sizeof(buffers->number), "%u", (unsigned)status);
    fields[n++] = (struct field){"grpc-status", buffers->number};
    if (text && *text) {
        headers_text_encode(text, buffers->text, sizeof(buffers->text));
        fields[n++] = (struct field){"grpc-message", buffers->text};
    }
    return n;
}

bool call_trailers(struct stream *stream)
{
    struct rpc_call *call = call_of(stream);
    struct status_fields buffers;
    struct field fields[2];
    size_t n = make_status_fields(fields, &buffers, call->status, call->text);

    return stream_trailers(stream, fields, n) == 0;
}

static void drop_request(struct rpc_call *call)
{
    frame_reader_deinit(&call->stream.input);
    call->host->buffered_bytes -= call->buffered_bytes;
    call->buffered_bytes = 0;
}

static void mark_ended(struct rpc_call *call, enum rpc_status status)
{
    call->state = CALL_ENDED;
    call->status = status;
    call->stream.due_ms = 0;
    if (status != RPC_OK)
        call->host->counters.failed_calls++;
}

static void respond_status_only(struct rpc_call *call, const char *text, bool name_encodings)
{
    struct field fields[5] = {
        {":status", "200"},
        {"content-type", "application/grpc"},
    };
    struct status_fields buffers;
    size_t n = 2 + make_status_fields(fields + 2, &buffers, call->status, text);

    if (name_encodings)
        fields[n++] = (struct field){"grpc-accept-encoding", "identity"};
    if (stream_respond_only(&call->stream, fields, n) < 0)
        stream_reset(&call->stream, STREAM_CANCEL);
}

static void finish(struct rpc_call *call, enum rpc_status status, const char *text)
{
    assert(call->state != CALL_ENDED);
    mark_ended(call, status);
    if (!call->answered) {
        respond_status_only(call, text, false);
        return;
    }
    /* Without memory the message is lost, the status is not. */
    free(call->text);
    call->text = text && *text ? strdup(text) : NULL;
    stream_queue_end(&call->stream);
}

/* Ends a call that may have been kept by the program. */
static void finish_from_here(struct rpc_call *call, enum rpc_status status, const char *text)
{
    rpc_gone_fn *on_gone = call->state == CALL_RUNNING ? call->on_gone : NULL;

    if (call->state == CALL_ENDED)
        return;
    finish(call, status, text);
    if (on_gone)
        on_gone(call, call->data);
}

/* ---- the program's side of a call ---- */

void rpc_call_keep(struct rpc_call *call, void *call_data, rpc_gone_fn *on_gone)
{
    call->data = call_data;
    call->on_gone = on_gone;
}

void *rpc_call_userdata(const struct rpc_call *call)
{
    return call->host->userdata;
}

int rpc_call_send(struct rpc_call *call, const void *message, size_t size)
{
    static const struct field fields[] = {
        {":status", "200"},
        {"content-type", "application/grpc"},
    };
    int r = 0;

    assert(call->state == CALL_RUNNING);
    if (!call->answered)
        r = stream_respond(&call->stream, fields, ARRAY_SIZE(fields));
    if (r == 0) {
        call->answered = true;
        r = stream_queue(&call->stream, message, size);
    }
    if (r == 0)
        return 0;
    finish_from_here(call, RPC_RESOURCE_EXHAUSTED, "the server is out of memory");
    return -ENOMEM;
}

void rpc_call_finish(struct rpc_call *call, enum rpc_status status, const char *text)
{
    finish(call, status, text);
}

void rpc_call_reply(struct rpc_call *call, const void *message, size_t size)
{
    if (rpc_call_send(call, message, size) == 0)
        finish(call, RPC_OK, NULL);
}

/* ---- the connection's side of a call ---- */

struct stream *call_open(struct call_host *host, struct connection *connection, int32_t id)
{
    struct rpc_call *call;

    if (host->stopped)
        return NULL;
    call = calloc(1, sizeof(*call));
    if (!call)
        return NULL;
    call->host = host;
    call->stream.id = id;
    stream_add(connection, &call->stream);
    return &call->stream;
}

int call_header(struct stream *stream, const uint8_t *name, size_t name_length,
                const uint8_t *value, size_t value_length)
{
    return request_headers_add(&call_of(stream)->headers, name, name_length, value, value_length);
}

static const struct rpc_method *find_method(const struct call_host *host, const char *path)
{
    for (size_t i = 0; i < host->n_methods; i++)
        if (strcmp(host->methods[i].path, path) == 0)
            return &host->methods[i];
    return NULL;
}

static void refuse(struct rpc_call *call, const struct headers_verdict *verdict)
{
    char number[12];
    struct field status = {":status", number};

    if (verdict->malformed) {
        mark_ended(call, RPC_INTERNAL);
        call->host->counters.protocol_errors++;
        stream_reset(&call->stream, STREAM_PROTOCOL_ERROR);
    } else if (verdict->http_status != 0) {
        mark_ended(call, RPC_INTERNAL);
        snprintf(number, sizeof(number), "%u", verdict->http_status);
        if (stream_respond_only(&call->stream, &status, 1) < 0)
            stream_reset(&call->stream, STREAM_CANCEL);
    } else {
        mark_ended(call, verdict->status);
        respond_status_only(call, verdict->text, verdict->name_encodings);
    }
}

static void refuse_unknown(struct rpc_call *call)
{
    char text[HEADERS_MAX_PATH + 32];

    snprintf(text, sizeof(text), "unknown method %s", call->headers.path);
    finish(call, RPC_UNIMPLEMENTED, text);
}

void call_headers_end(struct stream *stream, bool last)
{
    struct rpc_call *call = call_of(stream);
    struct headers_verdict verdict;

    if (call->state != CALL_READING)
        return;
    if (call->method) {
        /* Trailers of a request end it; no message may follow them. */
        if (!last)
            finish(call, RPC_INTERNAL, "header fields in the middle of a request");
        return;
    }
    call->host->counters.calls++;
    verdict = request_headers_judge(&call->headers);
    if (verdict.malformed || verdict.http_status != 0 || verdict.status != RPC_OK) {
        refuse(call, &verdict);
        return;
    }
    call->method = find_method(call->host, call->headers.path);
    if (!call->method)
        refuse_unknown(call);
    else if (request_headers_have_timeout(&call->headers))
        stream_set_due(stream, call->headers.timeout_ms);
    request_headers_deinit(&call->headers);
}

static void on_bad_frame(struct rpc_call *call, int outcome)
{
    static const struct {
        enum rpc_status status;
        const char *text;
    } answers[] = {
        [FRAME_MESSAGE] = {RPC_INTERNAL, "more than one request message"},
        [FRAME_TOO_LARGE] = {RPC_RESOURCE_EXHAUSTED, "the request message is too large"},
        [FRAME_COMPRESSED] = {RPC_INTERNAL, "a compressed message without grpc-encoding"},
        [FRAME_BAD_FLAG] = {RPC_INTERNAL, "a message with an unknown flag"},
    };

    if (outcome < 0)
        finish(call, RPC_RESOURCE_EXHAUSTED, "the server is out of memory");
    else
        finish(call, answers[outcome].status, answers[outcome].text);
}

void call_data(struct stream *stream, const uint8_t *bytes, size_t size)
{
    struct rpc_call *call = call_of(stream);
    struct call_host *host = call->host;
    size_t capacity;
    int r;

    if (call->state != CALL_READING)
        return;
    r = frame_read(&stream->input, &bytes, &size, host->message_bytes);
    capacity = stream->input.capacity;
    host->buffered_bytes += capacity - call->buffered_bytes;
    call->buffered_bytes = capacity;
    if (r == -ENOMEM || r > FRAME_MESSAGE || (r == FRAME_MESSAGE && size > 0))
        on_bad_frame(call, r);
    else if (host->buffered_bytes > BUFFERED_MESSAGES * host->message_bytes)
        finish(call, RPC_RESOURCE_EXHAUSTED, "too many large requests at once");
    if (call->state == CALL_ENDED)
        drop_request(call);
}

void call_end(struct stream *stream)
{
    struct rpc_call *call = call_of(stream);
    const uint8_t *no_bytes = NULL;
    size_t no_size = 0;

    if (call->state != CALL_READING)
        return;
    if (frame_read(&stream->input, &no_bytes, &no_size, SIZE_MAX) != FRAME_MESSAGE) {
        finish(call, RPC_INTERNAL, "the request ended in the middle of its message");
    } else {
        call->state = CALL_RUNNING;
        call->method->handle(call, stream->input.data ? (const void *)stream->input.data : "",
                             stream->input.size, call->host->userdata);
    }
    drop_request(call);
}

void call_closed(struct stream *stream, uint32_t error)
{
    struct rpc_call *call = call_of(stream);

    (void)error;
    drop_request(call);
    if (call->state != CALL_ENDED)
        call->host->counters.cancelled_calls++;
    if (call->state == CALL_RUNNING && call->on_gone) {
        call->state = CALL_ENDED;
        call->on_gone(call, call->data);
    }
    request_headers_deinit(&call->headers);
    free(call->text);
    free(call);
}

void call_due(struct stream *stream)
{
    finish_from_here(call_of(stream), RPC_DEADLINE_EXCEEDED, "deadline exceeded");
    drop_request(call_of(stream));
}

void call_stop(struct stream *stream)
{
    finish_from_here(call_of(stream), RPC_UNAVAILABLE, "the server is stopping");
}
