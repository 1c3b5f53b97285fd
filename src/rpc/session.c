// SPDX-License-Identifier: Apache-2.0
#include "rpc/session.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>

#include "rpc/connection.h"
#include "rpc/headers.h"
#include "rpc/stream.h"

enum {
    /* Calls that time out together are reset together: nghttp2's limits of 1,000 and 33 are too
     * low. */
    RESETS_AT_ONCE = 8192,
    RESETS_PER_SECOND = 1000,
};

int session_errno(int error)
{
    if (error >= 0)
        return error;
    return error == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EPROTO;
}

/* ---- nghttp2's callbacks ---- */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *userdata)
{
    struct connection *c = userdata;
    struct stream *stream;

    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    stream = c->phase == RUNNING && c->owner && !c->close_reason
                 ? c->role->open(c, frame->hd.stream_id)
                 : NULL;
    if (!stream)
        return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                         NGHTTP2_REFUSED_STREAM) == 0
                   ? 0
                   : NGHTTP2_ERR_CALLBACK_FAILURE;
    nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, stream);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_length, const uint8_t *value, size_t value_length, uint8_t flags,
                     void *userdata)
{
    struct connection *c = userdata;
    struct stream *stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    int r;

    if (!stream)
        return 0;
    r = c->role->header(stream, name, name_length, value, value_length);
    if (r == 0)
        return 0;
    if (r == HEADERS_FLOOD) {
        nghttp2_session_terminate_session(session, NGHTTP2_ENHANCE_YOUR_CALM);
        stream_end(stream, NGHTTP2_ENHANCE_YOUR_CALM);
        return 0;
    }
    if (r == HEADERS_MALFORMED)
        connection_count_error(c);
    nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                              r == HEADERS_MALFORMED ? NGHTTP2_PROTOCOL_ERROR
                                                     : NGHTTP2_INTERNAL_ERROR);
    stream_end(stream, NGHTTP2_PROTOCOL_ERROR);
    return 0;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t stream_id,
                         const uint8_t *data, size_t size, void *userdata)
{
    struct connection *c = userdata;
    struct stream *stream = nghttp2_session_get_stream_user_data(session, stream_id);

    if (stream)
        c->role->data(stream, data, size);
    return 0;
}

/* The second GOAWAY: names the last accepted stream. */
static void go_away(struct connection *c)
{
    c->phase = GOING;
    nghttp2_submit_goaway(c->session, NGHTTP2_FLAG_NONE,
                          nghttp2_session_get_last_proc_stream_id(c->session), NGHTTP2_NO_ERROR,
                          NULL, 0);
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *userdata)
{
    struct connection *c = userdata;
    bool last = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    bool ack = frame->hd.flags & NGHTTP2_FLAG_ACK;
    struct stream *stream;

    if (frame->hd.type == NGHTTP2_SETTINGS && !ack && !c->has_settings) {
        c->has_settings = true;
        c->due_ms = 0;
        connection_rearm(c);
    } else if (frame->hd.type == NGHTTP2_PING && ack && c->phase == NOTICED) {
        go_away(c);
    }
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        return 0;
    stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (stream && frame->hd.type == NGHTTP2_HEADERS)
        c->role->headers_end(stream, last);
    /* The role may have dropped the stream. */
    stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (stream && last)
        c->role->end(stream);
    return 0;
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *userdata)
{
    struct connection *c = userdata;

    if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR)
        connection_count_error(c);
    /* After our trailers, tell a client that still sends to stop. */
    if (c->is_server && frame->hd.type == NGHTTP2_HEADERS &&
        frame->hd.flags & NGHTTP2_FLAG_END_STREAM &&
        nghttp2_session_get_stream_remote_close(session, frame->hd.stream_id) == 0)
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                  NGHTTP2_NO_ERROR);
    return 0;
}

/* A request that could not be sent, for example because a GOAWAY came first. */
static int on_frame_not_send(nghttp2_session *session, const nghttp2_frame *frame, int error,
                             void *userdata)
{
    struct connection *c = userdata;

    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    for (struct stream *s = c->streams; s; s = s->next) {
        if (s->id == frame->hd.stream_id) {
            stream_end(s, NGHTTP2_REFUSED_STREAM);
            break;
        }
    }
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t error,
                           void *userdata)
{
    struct stream *stream = nghttp2_session_get_stream_user_data(session, stream_id);

    if (stream)
        stream_end(stream, error);
    return 0;
}

/* ---- life ---- */

static int make_callbacks(nghttp2_session_callbacks **ret_callbacks)
{
    nghttp2_session_callbacks *callbacks;

    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return -ENOMEM;
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, on_frame_not_send);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    *ret_callbacks = callbacks;
    return 0;
}

static int make_option(nghttp2_option **ret_option)
{
    nghttp2_option *option;

    if (nghttp2_option_new(&option) != 0)
        return -ENOMEM;
    /* headers.h says why, and does the checks instead. */
    nghttp2_option_set_no_http_messaging(option, 1);
    nghttp2_option_set_no_closed_streams(option, 1);
#ifdef HAVE_NGHTTP2_RESET_RATE_LIMIT
    nghttp2_option_set_stream_reset_rate_limit(option, RESETS_AT_ONCE, RESETS_PER_SECOND);
#endif
    *ret_option = option;
    return 0;
}

static int make_session(struct connection *c)
{
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *option = NULL;
    int r;

    r = make_callbacks(&callbacks);
    if (r == 0)
        r = make_option(&option);
    if (r == 0 && c->is_server)
        r = session_errno(nghttp2_session_server_new2(&c->session, callbacks, c, option));
    else if (r == 0)
        r = session_errno(nghttp2_session_client_new2(&c->session, callbacks, c, option));
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(option);
    return r;
}

static int submit_settings(struct connection *c)
{
    nghttp2_settings_entry server[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, (uint32_t)c->limits.streams},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HEADERS_MAX_BYTES},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    };
    nghttp2_settings_entry client[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HEADERS_MAX_BYTES},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    };

    return session_errno(
        nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, c->is_server ? server : client, 3));
}

int session_new(struct connection *c)
{
    int r = make_session(c);

    return r == 0 ? submit_settings(c) : r;
}
