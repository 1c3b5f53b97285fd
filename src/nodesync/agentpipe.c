// SPDX-License-Identifier: Apache-2.0
#include "nodesync/agentpipe.h"

#include <errno.h>
#include <string.h>

enum { READ_SIZE = 16 << 10 };

struct agentpipe {
    uv_pipe_t pipe;
    const struct agentpipe_events *events;
    void *userdata;
    struct text input; /* the line that is not complete yet */
    char buffer[READ_SIZE];
    uv_write_t request;
    char *writing; /* what the request sends; NULL = none is open */
    char *next;    /* to be sent after it */
    char *last;    /* said last, sent or not */
    bool has_ended;
};

static void end(struct agentpipe *pair, int r, const struct error *err)
{
    if (pair->has_ended)
        return;
    pair->has_ended = true;
    uv_read_stop((uv_stream_t *)&pair->pipe);
    pair->events->on_end(r, err, pair->userdata);
}

static void take_line(struct agentpipe *pair, const char *line, size_t length)
{
    struct sync_message message;
    struct error err = ERROR_INIT;
    int r = sync_message_read(line, length, &message, &err);

    if (r < 0) {
        end(pair, r, &err);
        return;
    }
    pair->events->on_message(&message, pair->userdata);
    sync_message_deinit(&message);
}

/* Takes the whole lines out of the input. */
static void take_lines(struct agentpipe *pair)
{
    struct text *input = &pair->input;
    const char *at = input->data, *feed;
    size_t left = input->length;

    while (left && !pair->has_ended && (feed = memchr(at, '\n', left))) {
        take_line(pair, at, (size_t)(feed - at));
        left -= (size_t)(feed + 1 - at);
        at = feed + 1;
    }
    if (left == input->length)
        return;
    memmove(input->data, at, left);
    input->data[left] = '\0';
    input->length = left;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct agentpipe *pair = handle->data;

    (void)suggested;
    *buffer = uv_buf_init(pair->buffer, sizeof(pair->buffer));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    struct agentpipe *pair = stream->data;
    struct error err = ERROR_INIT;

    if (n < 0) {
        end(pair, n == UV_EOF || n == UV_ECONNRESET ? 0 : (int)n, &err);
        return;
    }
    text_add_bytes(&pair->input, buffer->base, (size_t)n);
    take_lines(pair);
    if (text_failed(&pair->input))
        end(pair, error_set_errno(&err, -ENOMEM, "cannot hear the agent"), &err);
    else if (pair->input.length > SYNC_LINE_MAX)
        end(pair, error_set(&err, -EBADMSG, "a line is longer than %d bytes", SYNC_LINE_MAX), &err);
}

static void send_next(struct agentpipe *pair);

static void on_sent(uv_write_t *request, int status)
{
    struct agentpipe *pair = request->data;

    free(TAKE_PTR(pair->writing));
    if (status == 0)
        send_next(pair);
}

static void send_next(struct agentpipe *pair)
{
    uv_buf_t buffer;

    if (pair->writing || !pair->next || pair->has_ended)
        return;
    pair->writing = TAKE_PTR(pair->next);
    buffer = uv_buf_init(pair->writing, (unsigned)strlen(pair->writing));
    if (uv_write(&pair->request, (uv_stream_t *)&pair->pipe, &buffer, 1, on_sent) < 0)
        free(TAKE_PTR(pair->writing)); /* the end is heard by on_read */
}

int agentpipe_send(struct agentpipe *pair, const struct sync_message *message)
{
    cleanup_text struct text line = TEXT_INIT;
    int r = sync_message_write(message, &line);

    if (r < 0)
        return r;
    if (pair->last && str_equal(pair->last, text_string(&line)))
        return 0;
    free(pair->last);
    free(pair->next);
    pair->last = strdup(text_string(&line));
    pair->next = text_take(&line);
    if (!pair->last || !pair->next)
        return -ENOMEM;
    send_next(pair);
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct agentpipe *pair = handle->data;

    text_deinit(&pair->input);
    free(pair->writing);
    free(pair->next);
    free(pair->last);
    free(pair);
}

static int start(struct agentpipe *pair, int fd)
{
    int r = uv_pipe_open(&pair->pipe, fd);

    return r < 0 ? r : uv_read_start((uv_stream_t *)&pair->pipe, on_alloc, on_read);
}

int agentpipe_new(uv_loop_t *loop, int fd, const struct agentpipe_events *events, void *userdata,
                  struct agentpipe **ret_pair, struct error *err)
{
    struct agentpipe *pair = calloc(1, sizeof(*pair));
    int r;

    if (!pair)
        return error_set_errno(err, -ENOMEM, "cannot hear the agent");
    pair->events = events;
    pair->userdata = userdata;
    uv_pipe_init(loop, &pair->pipe, 0);
    pair->pipe.data = pair;
    pair->request.data = pair;
    r = start(pair, fd);
    if (r < 0) {
        agentpipe_free(pair);
        return error_set_errno(err, r, "cannot hear the agent");
    }
    *ret_pair = pair;
    return 0;
}

void agentpipe_free(struct agentpipe *pair)
{
    if (!pair)
        return;
    pair->has_ended = true;
    uv_close((uv_handle_t *)&pair->pipe, on_closed);
}
