// SPDX-License-Identifier: Apache-2.0
#include "rpc/client.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "rpc/connection.h"
#include "rpc/headers.h"
#include "rpc/stream.h"

enum {
    MESSAGE_BYTES = 16 << 20, /* the kubelet's own clients of pod-resources allow 16 MiB */
    QUEUED_BYTES = 64 << 20,
};

struct rpc_client {
    uv_loop_t *loop;
    struct connection *connection; /* NULL once it failed */
};

struct rpc_request {
    struct stream stream;
    struct response_headers headers;
    rpc_message_fn *on_message; /* NULL = unary */
    rpc_done_fn *on_done;
    void *userdata;
    size_t max_bytes; /* of one message */
    bool answered;    /* the first header block has been received */
    bool calling;     /* a callback of this request is running: free it later */
    bool abandoned;   /* cancelled, or done */
};

static struct rpc_request *request_of(struct stream *stream)
{
    static_assert(offsetof(struct rpc_request, stream) == 0,
                  "a request must begin with its stream");
    return (struct rpc_request *)stream;
}

static void request_free(struct rpc_request *request)
{
    response_headers_deinit(&request->headers);
    free(request);
}

/* ---- ends ---- */

/* The stream has left its connection's list; notifies the program and frees the request. */
static void notify_done(struct rpc_request *request, struct frame_reader *message,
                        enum rpc_status status, const char *text)
{
    const void *data = NULL;
    size_t size = 0;

    if (status == RPC_OK && !request->on_message) {
        data = message->data ? (const void *)message->data : "";
        size = message->size;
    }
    request->abandoned = true;
    request->calling = true;
    request->on_done(request, status, text, data, size, request->userdata);
    frame_reader_deinit(message);
    request_free(request);
}

static void finish(struct rpc_request *request, enum rpc_status status, const char *text)
{
    struct frame_reader message = request->stream.input;

    request->stream.input = (struct frame_reader)FRAME_READER_INIT;
    stream_remove(&request->stream);
    notify_done(request, &message, status, text);
}

/* Ends a call whose stream is still open on the peer's side. */
static void abort_call(struct rpc_request *request, enum rpc_status status, const char *text)
{
    stream_reset(&request->stream, STREAM_CANCEL);
    finish(request, status, text);
}

static enum rpc_status status_of_reset(uint32_t error)
{
    static const struct {
        uint32_t error;
        enum rpc_status status;
    } map[] = {
        {STREAM_REFUSED, RPC_UNAVAILABLE},
        {STREAM_CONNECT_ERROR, RPC_UNAVAILABLE},
        {STREAM_CANCEL, RPC_CANCELLED},
        {STREAM_ENHANCE_YOUR_CALM, RPC_RESOURCE_EXHAUSTED},
        {STREAM_INADEQUATE_SECURITY, RPC_PERMISSION_DENIED},
    };

    for (size_t i = 0; i < ARRAY_SIZE(map); i++)
        if (map[i].error == error)
            return map[i].status;
    return RPC_INTERNAL;
}

/* ---- events ---- */

static int on_header(struct stream *stream, const uint8_t *name, size_t name_length,
                     const uint8_t *value, size_t value_length)
{
    return response_headers_add(&request_of(stream)->headers, name, name_length, value,
                                value_length);
}

static void on_headers_end(struct stream *stream, bool last)
{
    struct rpc_request *request = request_of(stream);
    struct response_headers *headers = &request->headers;

    if (request->answered)
        return;
    if (headers->http_status >= 100 && headers->http_status < 200 && !last) {
        response_headers_deinit(headers);
        *headers = (struct response_headers)RESPONSE_HEADERS_INIT;
        return;
    }
    request->answered = true;
    if (last)
        return;
    if (headers->http_status != 200)
        abort_call(request, headers_status_of_http(headers->http_status),
                   "the peer responded with an HTTP error");
    else if (!headers->is_grpc)
        abort_call(request, RPC_UNKNOWN, "the peer's response is not gRPC");
    else if (headers->compressed)
        abort_call(request, RPC_INTERNAL, "the peer's response is compressed");
}

static void hand_message(struct rpc_request *request)
{
    struct frame_reader *input = &request->stream.input;

    request->calling = true;
    request->on_message(request, input->data ? (const void *)input->data : "", input->size,
                        request->userdata);
    request->calling = false;
    if (!request->abandoned)
        frame_next(input);
}

static void on_data(struct stream *stream, const uint8_t *bytes, size_t size)
{
    struct rpc_request *request = request_of(stream);
    int r;

    for (;;) {
        r = frame_read(&stream->input, &bytes, &size, request->max_bytes);
        if (r != FRAME_MESSAGE || !request->on_message)
            break;
        hand_message(request);
        if (request->abandoned) {
            frame_reader_deinit(&stream->input);
            request_free(request);
            return;
        }
    }
    if (r == -ENOMEM || r == FRAME_TOO_LARGE)
        abort_call(request, RPC_RESOURCE_EXHAUSTED, "the peer's message is too large");
    else if (r == FRAME_COMPRESSED || r == FRAME_BAD_FLAG)
        abort_call(request, RPC_INTERNAL,
                   "the peer's message is compressed or has an invalid flag");
    else if (r == FRAME_MESSAGE && size > 0)
        abort_call(request, RPC_INTERNAL, "the peer sent more than one message");
}

static bool has_whole_message(struct rpc_request *request)
{
    const uint8_t *no_bytes = NULL;
    size_t no_size = 0;

    return frame_read(&request->stream.input, &no_bytes, &no_size, request->max_bytes) ==
           FRAME_MESSAGE;
}

static void on_end(struct stream *stream)
{
    struct rpc_request *request = request_of(stream);
    const struct response_headers *headers = &request->headers;
    enum rpc_status status = (enum rpc_status)headers->grpc_status;
    const char *text = headers->text ? headers->text : "";

    if (stream_is_ours_open(stream))
        stream_reset(stream, STREAM_NO_ERROR);
    if (headers->grpc_status < 0) {
        status = headers->http_status == 200 ? RPC_UNKNOWN
                                             : headers_status_of_http(headers->http_status);
        text = "the peer ended the call without a gRPC status";
    } else if (status == RPC_OK && !request->on_message && !has_whole_message(request)) {
        status = RPC_INTERNAL;
        text = "the peer responded OK without a complete message";
    } else if (status == RPC_OK && request->on_message && !frame_is_between(&stream->input)) {
        status = RPC_INTERNAL;
        text = "the peer's last message is truncated";
    }
    finish(request, status, text);
}

static void on_closed(struct stream *stream, uint32_t error)
{
    struct rpc_request *request = request_of(stream);
    struct frame_reader nothing = FRAME_READER_INIT;
    enum rpc_status status = status_of_reset(error);

    notify_done(request, &nothing, status,
                status == RPC_UNAVAILABLE ? "the connection is closed" : "the peer reset the call");
}

static void on_due(struct stream *stream)
{
    abort_call(request_of(stream), RPC_DEADLINE_EXCEEDED, "deadline exceeded");
}

static void on_lost(struct connection *connection, const char *why)
{
    struct rpc_client *client = connection_owner(connection);

    (void)why;
    client->connection = NULL;
}

static const struct connection_role client_role = {
    .header = on_header,
    .headers_end = on_headers_end,
    .data = on_data,
    .end = on_end,
    .closed = on_closed,
    .due = on_due,
    .lost = on_lost,
};

/* ---- life ---- */

static int connect_to(const char *path, int *ret_fd, struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    cleanup_close int fd = -1;

    if (strlen(path) >= sizeof(address.sun_path))
        return error_set(err, -ENAMETOOLONG, "the socket path %s is longer than %zu bytes", path,
                         sizeof(address.sun_path) - 1);
    memcpy(address.sun_path, path, strlen(path) + 1);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_set_errno(err, -errno, "cannot create a socket");
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
        return error_set_errno(err, -errno, "cannot connect to %s", path);
    *ret_fd = TAKE_FD(fd);
    return 0;
}

int rpc_client_new(uv_loop_t *loop, const char *path, struct rpc_client **ret_client,
                   struct error *err)
{
    static const struct connection_limits limits = {.queued_bytes = QUEUED_BYTES};
    cleanup_free struct rpc_client *client = calloc(1, sizeof(*client));
    int r, fd = -1;

    if (!client)
        return error_set_errno(err, -ENOMEM, "cannot connect to %s", path);
    client->loop = loop;
    r = connect_to(path, &fd, err);
    if (r < 0)
        return r;
    r = connection_new(loop, fd, false, &client_role, &limits, client, &client->connection);
    if (r < 0)
        return error_set_errno(err, r, "cannot connect to %s", path);
    *ret_client = TAKE_PTR(client);
    return 0;
}

/* No callback of the request runs any more; it is freed, if necessary after the running one. */
static void release_request(struct rpc_request *request)
{
    bool was_calling = request->calling;

    stream_remove(&request->stream);
    request->abandoned = true;
    if (!was_calling)
        request_free(request);
}

void rpc_client_free(struct rpc_client *client)
{
    if (!client)
        return;
    if (client->connection) {
        struct stream *stream;

        connection_disown(client->connection);
        while ((stream = connection_streams(client->connection)))
            release_request(request_of(stream));
        connection_close(client->connection, "the client was freed");
    }
    free(client);
}

bool rpc_client_is_usable(const struct rpc_client *client)
{
    return client->connection && connection_may_open(client->connection);
}

static int submit(struct rpc_client *client, struct rpc_request *request,
                  const struct rpc_invocation *invocation)
{
    char timeout[HEADERS_TIMEOUT_SIZE];
    struct field fields[8] = {
        {":method", "POST"},         {":scheme", "http"}, {":path", invocation->method},
        {":authority", "localhost"}, {"te", "trailers"},  {"content-type", "application/grpc"},
        {"user-agent", "gpuslice"},
    };
    size_t n = 7;

    if (invocation->deadline_ms > 0) {
        headers_timeout_format(invocation->deadline_ms, timeout);
        fields[n++] = (struct field){"grpc-timeout", timeout};
    }
    return stream_request(client->connection, &request->stream, fields, n);
}

int rpc_client_call(struct rpc_client *client, const struct rpc_invocation *invocation,
                    struct rpc_request **ret_request, struct error *err)
{
    cleanup_free struct rpc_request *request = calloc(1, sizeof(*request));
    int r;

    if (!request)
        return error_set_errno(err, -ENOMEM, "cannot call %s", invocation->method);
    if (!rpc_client_is_usable(client))
        return error_set(err, -ENOTCONN, "cannot call %s: the connection is closed",
                         invocation->method);
    request->headers = (struct response_headers)RESPONSE_HEADERS_INIT;
    request->on_message = invocation->on_message;
    request->max_bytes = invocation->max_bytes ? invocation->max_bytes : MESSAGE_BYTES;
    request->on_done = invocation->on_done;
    request->userdata = invocation->userdata;
    r = submit(client, request, invocation);
    if (r < 0)
        return error_set_errno(err, r, "cannot call %s", invocation->method);
    r = stream_queue(&request->stream, invocation->message, invocation->size);
    if (r < 0) {
        stream_reset(&request->stream, STREAM_CANCEL);
        stream_remove(&request->stream);
        return error_set_errno(err, r, "cannot call %s", invocation->method);
    }
    stream_queue_end(&request->stream);
    if (invocation->deadline_ms > 0)
        stream_set_due(&request->stream, invocation->deadline_ms);
    if (ret_request)
        *ret_request = request;
    (void)TAKE_PTR(request);
    return 0;
}

void rpc_request_cancel(struct rpc_request *request)
{
    if (request->abandoned)
        return;
    stream_reset(&request->stream, STREAM_CANCEL);
    release_request(request);
}
