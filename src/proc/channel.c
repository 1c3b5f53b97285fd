// SPDX-License-Identifier: Apache-2.0
#include "proc/channel.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "proc/frame.h"
#include "proc/outbox.h"
#include "proc/peerprocess.h"
#include "proc/peersocket.h"

enum {
    DEFAULT_BODY_BYTES = 1 << 20,
    DEFAULT_QUEUED_BYTES = 4 << 20,
    DEFAULT_NOTICES = 64,
    KIND_REFUSED = UINT16_MAX, /* of an answer: there are too many requests */
    N_HANDLES = 2,
    LAST_TURNS = 64, /* what a socket's buffer may contain from a dead peer */
};

/* A pending request of ours. */
struct call {
    uint32_t id;
    uint64_t due_ms;
    channel_done_fn *done;
    void *userdata;
};

struct channel {
    uv_poll_t poll;
    uv_timer_t timer; /* for all deadlines: calls, heartbeat, and the end */
    int fd;
    struct peerprocess process; /* of a stranger */
    unsigned n_closed_handles;
    int poll_events;
    uint64_t armed_ms; /* when the timer fires; UINT64_MAX = never */
    struct channel_options options;
    struct channel_callbacks callbacks;
    void *userdata;
    struct proc_frame_reader reader;
    struct outbox outbox;
    struct call calls[CHANNEL_MAX_CALLS];
    unsigned n_calls;
    uint32_t peer_calls[CHANNEL_MAX_CALLS]; /* ids of the peer's requests */
    unsigned n_peer_calls;
    uint32_t last_id;
    char peer[CHANNEL_NAME_SIZE]; /* "" before its hello */
    uint64_t opened_ms;
    uint64_t received_ms; /* when data last arrived, or the start */
    uint64_t pinged_ms;   /* of the unanswered ping; 0 = none */
    bool is_broken;       /* nothing can be sent any more */
    bool has_ended, is_freed;
    enum channel_end end;
    char sentence[256];
};

/* -- time ------------------------------------------------------------------------------------ */

static void on_timer(uv_timer_t *timer);

static void arm(struct channel *channel, uint64_t due_ms)
{
    const uint64_t now_ms = clock_now_ms();

    if (due_ms >= channel->armed_ms || channel->is_freed)
        return;
    channel->armed_ms = due_ms;
    uv_timer_start(&channel->timer, on_timer, due_ms > now_ms ? due_ms - now_ms : 0, 0);
}

/* Reports it from the loop: not from within a call by the owner. */
static void end(struct channel *channel, enum channel_end reason, const char *sentence)
{
    if (channel->has_ended)
        return;
    channel->has_ended = true;
    channel->end = reason;
    snprintf(channel->sentence, sizeof(channel->sentence), "%s", sentence);
    if (channel->is_freed)
        return;
    uv_poll_stop(&channel->poll);
    arm(channel, 0);
}

static uint64_t heartbeat_due_ms(const struct channel *channel)
{
    const struct channel_options *options = &channel->options;

    if (!*channel->peer)
        return options->hello_ms ? channel->opened_ms + options->hello_ms : UINT64_MAX;
    if (!options->ping_ms)
        return UINT64_MAX;
    return channel->pinged_ms ? channel->pinged_ms + options->pong_ms
                              : channel->received_ms + options->ping_ms;
}

static uint64_t next_due_ms(const struct channel *channel)
{
    uint64_t due_ms = heartbeat_due_ms(channel);

    for (unsigned i = 0; i < channel->n_calls; i++)
        if (channel->calls[i].due_ms < due_ms)
            due_ms = channel->calls[i].due_ms;
    return due_ms;
}

/* -- sending --------------------------------------------------------------------------------- */

static void on_poll(uv_poll_t *poll, int status, int events);

/* Watches for possible I/O; nothing is read from a peer that does not read. */
static void update_poll(struct channel *channel)
{
    int events = 0;

    if (channel->has_ended || channel->is_freed)
        return;
    if (channel->outbox.n_bytes < channel->options.max_queued_bytes)
        events |= UV_READABLE;
    if (!outbox_is_empty(&channel->outbox))
        events |= UV_WRITABLE;
    if (events == channel->poll_events)
        return;
    channel->poll_events = events;
    uv_poll_start(&channel->poll, events, on_poll);
}

static void flush(struct channel *channel)
{
    if (!channel->is_broken &&
        outbox_send(&channel->outbox, channel->fd, CHANNEL_BYTES_PER_TURN) < 0) {
        channel->is_broken = true; /* its last messages may still be in the socket */
        arm(channel, 0);
    }
    if (channel->is_broken)
        outbox_deinit(&channel->outbox);
    update_poll(channel);
}

/* 0 when a frame of that size can be queued. */
static int check_room(const struct channel *channel, size_t size)
{
    if (channel->has_ended || channel->is_broken || channel->is_freed)
        return -EPIPE;
    return size > channel->options.max_body_bytes ? -EMSGSIZE : 0;
}

static int push(struct channel *channel, const struct proc_frame *frame)
{
    const int r = outbox_push(&channel->outbox, frame);

    if (r == 0)
        flush(channel);
    return r;
}

int channel_notify(struct channel *channel, uint16_t kind, enum channel_keep keep, const void *body,
                   size_t size)
{
    const struct proc_frame frame = {
        .type = PROC_FRAME_NOTICE, .kind = kind, .body = body, .size = size};
    int r = check_room(channel, size);

    if (r < 0)
        return r;
    if (keep == CHANNEL_KEEP_ALL &&
        channel->outbox.n_bytes + size > channel->options.max_queued_bytes) {
        channel->outbox.n_dropped++;
        return -ENOBUFS;
    }
    r = outbox_push_notice(&channel->outbox, &frame, keep == CHANNEL_KEEP_NEWEST,
                           channel->options.max_notices);
    flush(channel);
    return r;
}

uint64_t channel_n_dropped(const struct channel *channel)
{
    return channel->outbox.n_dropped;
}

int channel_request(struct channel *channel, uint16_t kind, const void *body, size_t size,
                    uint64_t deadline_ms, channel_done_fn *done, void *userdata)
{
    const struct proc_frame frame = {.type = PROC_FRAME_REQUEST,
                                     .kind = kind,
                                     .id = channel->last_id + 1,
                                     .body = body,
                                     .size = size};
    int r = check_room(channel, size);

    if (r < 0)
        return r;
    if (channel->n_calls == CHANNEL_MAX_CALLS ||
        channel->outbox.n_bytes + size > channel->options.max_queued_bytes)
        return -ENOBUFS;
    r = push(channel, &frame);
    if (r < 0)
        return r;
    channel->last_id++;
    channel->calls[channel->n_calls++] =
        (struct call){frame.id, clock_now_ms() + deadline_ms, done, userdata};
    arm(channel, clock_now_ms() + deadline_ms);
    return 0;
}

static int send_answer(struct channel *channel, uint32_t id, uint16_t kind, const void *body,
                       size_t size)
{
    return push(channel, &(struct proc_frame){PROC_FRAME_ANSWER, kind, id, body, size});
}

int channel_answer(struct channel *channel, uint32_t id, uint16_t kind, const void *body,
                   size_t size)
{
    int r = check_room(channel, size);

    assert(kind != KIND_REFUSED);
    for (unsigned i = 0; i < channel->n_peer_calls && r == 0; i++) {
        if (channel->peer_calls[i] != id)
            continue;
        r = send_answer(channel, id, kind, body, size);
        if (r == 0)
            channel->peer_calls[i] = channel->peer_calls[--channel->n_peer_calls];
        return r;
    }
    return r < 0 ? r : -ENOENT;
}

/* -- receiving ------------------------------------------------------------------------------- */

/* The call is removed before its callback runs, which may send the next one. */
static void finish_call(struct channel *channel, unsigned index,
                        const struct channel_answer *answer)
{
    const struct call call = channel->calls[index];

    channel->calls[index] = channel->calls[--channel->n_calls];
    call.done(answer, call.userdata);
}

static void take_answer(struct channel *channel, const struct proc_frame *frame)
{
    const struct channel_answer answer = {
        .result = frame->kind == KIND_REFUSED ? CHANNEL_REFUSED : CHANNEL_ANSWERED,
        .kind = frame->kind,
        .body = frame->body,
        .size = frame->size,
    };

    for (unsigned i = 0; i < channel->n_calls; i++) {
        if (channel->calls[i].id != frame->id)
            continue;
        finish_call(channel, i, &answer);
        return;
    } /* none: it arrived after its deadline */
}

static void take_request(struct channel *channel, const struct proc_frame *frame)
{
    for (unsigned i = 0; i < channel->n_peer_calls; i++)
        if (channel->peer_calls[i] == frame->id) {
            end(channel, CHANNEL_PROTOCOL, "the peer uses the id of an open request again");
            return;
        }
    if (channel->n_peer_calls == CHANNEL_MAX_CALLS || !channel->callbacks.on_request) {
        if (send_answer(channel, frame->id, KIND_REFUSED, NULL, 0) < 0)
            end(channel, CHANNEL_BROKEN, "there is no memory for an answer");
        return;
    }
    channel->peer_calls[channel->n_peer_calls++] = frame->id;
    channel->callbacks.on_request(channel, frame->id, frame->kind, frame->body, frame->size,
                                  channel->userdata);
}

static void take_hello(struct channel *channel, const struct proc_frame *frame)
{
    if (frame->size == 0 || str_copy(channel->peer, sizeof(channel->peer), frame->body) < 0) {
        end(channel, CHANNEL_PROTOCOL, "the peer's hello has no name, or one that is too long");
        return;
    }
    str_make_line(channel->peer);
    arm(channel, heartbeat_due_ms(channel));
    if (channel->callbacks.on_hello)
        channel->callbacks.on_hello(channel, channel->peer, channel->userdata);
}

static void end_ping(struct channel *channel)
{
    if (!channel->pinged_ms)
        return;
    channel->pinged_ms = 0;
    channel->armed_ms = UINT64_MAX; /* else the deadline of the answer wakes us for nothing */
    arm(channel, channel->has_ended ? 0 : next_due_ms(channel));
}

static void take_frame(struct channel *channel, const struct proc_frame *frame)
{
    end_ping(channel);
    if (frame->type != PROC_FRAME_HELLO && !*channel->peer) {
        end(channel, CHANNEL_PROTOCOL, "the peer did not say hello first");
        return;
    }
    switch (frame->type) {
    case PROC_FRAME_HELLO:
        take_hello(channel, frame);
        break;
    case PROC_FRAME_REQUEST:
        take_request(channel, frame);
        break;
    case PROC_FRAME_ANSWER:
        take_answer(channel, frame);
        break;
    case PROC_FRAME_NOTICE:
        if (channel->callbacks.on_notice)
            channel->callbacks.on_notice(channel, frame->kind, frame->body, frame->size,
                                         channel->userdata);
        break;
    case PROC_FRAME_PING:
        if (push(channel, &(struct proc_frame){.type = PROC_FRAME_PONG, .id = frame->id}) < 0)
            end(channel, CHANNEL_BROKEN, "there is no memory for an answer");
        break;
    case PROC_FRAME_PONG:
        break;
    }
}

/* As recv, with a negative errno. */
static ssize_t read_some(const struct channel *channel, void *space, size_t size)
{
    ssize_t n;

    if (channel->options.is_from_stranger)
        return peersocket_read(channel->fd, space, size);
    n = recv(channel->fd, space, size, MSG_DONTWAIT);
    return n < 0 ? -errno : n;
}

/* Receives once: 0 if nothing is available now (or the channel ended), else the number of bytes. */
static size_t receive(struct channel *channel)
{
    struct error err = ERROR_INIT;
    size_t size;
    void *space = proc_frame_reader_space(&channel->reader, &size);
    ssize_t n;
    int r;

    if (!space) {
        end(channel, CHANNEL_BROKEN, "there is no memory for a message");
        return 0;
    }
    do
        n = read_some(channel, space, size);
    while (n == -EINTR);
    if (n == -EAGAIN)
        return 0;
    if (n == -EBADMSG) {
        end(channel, CHANNEL_PROTOCOL, "the peer sent descriptors along");
        return 0;
    }
    if (n <= 0) {
        const bool is_closed = n == 0 || n == -ECONNRESET;

        end(channel, is_closed ? CHANNEL_EOF : CHANNEL_BROKEN,
            is_closed ? "the peer closed the channel" : strerror((int)-n));
        return 0;
    }
    channel->received_ms = clock_now_ms();
    r = proc_frame_reader_commit(&channel->reader, (size_t)n, &err);
    if (r == PROC_FRAME_COMPLETE)
        take_frame(channel, &channel->reader.frame);
    else if (r)
        end(channel, CHANNEL_PROTOCOL, error_text(&err));
    if (r == PROC_FRAME_COMPLETE && !channel->is_freed)
        proc_frame_reader_next(&channel->reader);
    return (size_t)n;
}

/* The work of one loop iteration. Returns false if nothing more is available now. */
static bool receive_some(struct channel *channel)
{
    size_t n_bytes = 0;

    /* A frame takes two reads: its header and its body. */
    for (unsigned n = 0; n < 2 * CHANNEL_FRAMES_PER_TURN && n_bytes < CHANNEL_BYTES_PER_TURN; n++) {
        const size_t more = channel->has_ended || channel->is_freed ? 0 : receive(channel);

        if (!more)
            return false;
        n_bytes += more;
    }
    return true;
}

void channel_receive_last(struct channel *channel)
{
    for (unsigned i = 0; i < LAST_TURNS && receive_some(channel); i++)
        ;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct channel *channel = poll->data;

    if (status < 0 || (events & (UV_READABLE | UV_DISCONNECT)))
        receive_some(channel);
    if (channel->has_ended || channel->is_freed || outbox_is_empty(&channel->outbox)) {
        update_poll(channel);
        return;
    }
    flush(channel);
    if (!channel->is_broken && outbox_is_empty(&channel->outbox) && channel->callbacks.on_drain)
        channel->callbacks.on_drain(channel, channel->userdata);
}

/* -- timeouts --------------------------------------------------------------------------------- */

static void finish_all(struct channel *channel)
{
    const struct channel_answer closed = {.result = CHANNEL_CLOSED};

    while (channel->n_calls)
        finish_call(channel, channel->n_calls - 1, &closed);
}

static void report_end(struct channel *channel)
{
    void (*on_end)(struct channel *, enum channel_end, const char *, void *);

    finish_all(channel);
    on_end = TAKE_PTR(channel->callbacks.on_end);
    if (on_end)
        on_end(channel, channel->end, channel->sentence, channel->userdata);
}

static void expire_calls(struct channel *channel, uint64_t now_ms)
{
    const struct channel_answer late = {.result = CHANNEL_TIMED_OUT};

    for (unsigned i = 0; i < channel->n_calls && !channel->is_freed;) {
        if (channel->calls[i].due_ms > now_ms) {
            i++;
            continue;
        }
        finish_call(channel, i, &late);
        i = 0; /* its owner may have done anything */
    }
}

static void ping(struct channel *channel, uint64_t now_ms)
{
    channel->pinged_ms = now_ms;
    if (push(channel, &(struct proc_frame){.type = PROC_FRAME_PING}) < 0)
        end(channel, CHANNEL_BROKEN, "there is no memory for a ping");
}

/* late_ms: how late this runs. */
static void check_heartbeat(struct channel *channel, uint64_t now_ms, uint64_t late_ms)
{
    if (now_ms < heartbeat_due_ms(channel))
        return;
    if (!*channel->peer) {
        end(channel, CHANNEL_HANGS, "the peer never said hello");
    } else if (!channel->pinged_ms) {
        ping(channel, now_ms);
    } else if (late_ms >= channel->options.pong_ms ||
               (channel->options.is_busy && channel->options.is_busy(channel->userdata))) {
        /* This process itself, and the peer with it, may have been stopped that long. */
        channel->pinged_ms = now_ms;
    } else {
        end(channel, CHANNEL_HANGS, "the peer does not answer");
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct channel *channel = timer->data;
    const uint64_t now_ms = clock_now_ms();
    const uint64_t late_ms = now_ms > channel->armed_ms ? now_ms - channel->armed_ms : 0;

    channel->armed_ms = UINT64_MAX;
    if (!channel->has_ended && (channel->is_broken || next_due_ms(channel) <= now_ms))
        receive_some(channel); /* the awaited data may have arrived, and only be unread */
    if (!channel->has_ended && channel->is_broken)
        end(channel, CHANNEL_EOF, "the peer closed the channel");
    if (channel->has_ended) {
        if (!channel->is_freed)
            report_end(channel);
        return;
    }
    expire_calls(channel, now_ms);
    if (!channel->is_freed && !channel->has_ended)
        check_heartbeat(channel, now_ms, late_ms);
    arm(channel, channel->has_ended ? 0 : next_due_ms(channel));
}

/* -- life ------------------------------------------------------------------------------------ */

static void free_memory(struct channel *channel)
{
    proc_frame_reader_deinit(&channel->reader);
    outbox_deinit(&channel->outbox);
    peerprocess_deinit(&channel->process);
    if (channel->options.is_from_stranger)
        peersocket_close(channel->fd);
    else
        close(channel->fd);
    free(channel);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct channel *channel = handle->data;

    if (++channel->n_closed_handles == N_HANDLES)
        free_memory(channel);
}

static struct channel_options with_defaults(const struct channel_options *options)
{
    struct channel_options all = *options;

    if (!all.max_body_bytes)
        all.max_body_bytes = DEFAULT_BODY_BYTES;
    if (!all.max_receive_bytes)
        all.max_receive_bytes = all.max_body_bytes;
    if (!all.max_queued_bytes)
        all.max_queued_bytes = DEFAULT_QUEUED_BYTES;
    if (!all.max_notices)
        all.max_notices = DEFAULT_NOTICES;
    if (!all.hello_ms)
        all.hello_ms = all.ping_ms + all.pong_ms;
    return all;
}

static int say_hello(struct channel *channel)
{
    const char *name = channel->options.name;
    const struct proc_frame hello = {.type = PROC_FRAME_HELLO, .body = name, .size = strlen(name)};

    return push(channel, &hello);
}

int channel_new(uv_loop_t *loop, int fd, const struct channel_options *options,
                const struct channel_callbacks *callbacks, void *userdata,
                struct channel **ret_channel, struct error *err)
{
    cleanup_close int own_fd = fd;
    cleanup_free struct channel *channel = calloc(1, sizeof(*channel));
    int r;

    if (!channel)
        return error_set_errno(err, -ENOMEM, "cannot open a channel");
    r = uv_poll_init(loop, &channel->poll, fd);
    if (r < 0)
        return error_set_errno(err, r, "cannot open a channel");
    uv_timer_init(loop, &channel->timer);
    channel->poll.data = channel->timer.data = channel;
    channel->fd = TAKE_FD(own_fd);
    channel->armed_ms = UINT64_MAX;
    channel->options = with_defaults(options);
    channel->callbacks = *callbacks;
    channel->userdata = userdata;
    channel->reader =
        (struct proc_frame_reader)PROC_FRAME_READER_INIT(channel->options.max_receive_bytes);
    channel->process = (struct peerprocess)PEERPROCESS_INIT;
    if (channel->options.is_from_stranger)
        (void)peerprocess_open(channel->fd, &channel->process, NULL);
    channel->opened_ms = channel->received_ms = clock_now_ms();
    *ret_channel = channel;
    if (say_hello(channel) < 0)
        end(channel, CHANNEL_BROKEN, "there is no memory for a hello");
    update_poll(channel);
    arm(TAKE_PTR(channel), heartbeat_due_ms(*ret_channel));
    return 0;
}

void channel_free(struct channel *channel)
{
    if (!channel)
        return;
    assert(!channel->is_freed);
    channel->is_freed = true;
    channel->callbacks = (struct channel_callbacks){.on_hello = NULL};
    finish_all(channel);
    uv_close((uv_handle_t *)&channel->poll, on_handle_closed);
    uv_close((uv_handle_t *)&channel->timer, on_handle_closed);
}

void channel_set_callbacks(struct channel *channel, const struct channel_callbacks *callbacks,
                           void *userdata)
{
    channel->callbacks = *callbacks;
    channel->userdata = userdata;
}

void channel_abort(struct channel *channel, const char *sentence)
{
    end(channel, CHANNEL_END_BY_US, sentence);
}

const char *channel_peer(const struct channel *channel)
{
    return *channel->peer ? channel->peer : NULL;
}

pid_t channel_peer_pid(const struct channel *channel)
{
    struct ucred peer = {.pid = 0};
    socklen_t size = sizeof(peer);

    if (channel->options.is_from_stranger)
        return peerprocess_has_ended(&channel->process) ? 0 : channel->process.pid;
    return getsockopt(channel->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 ? peer.pid : 0;
}

bool channel_is_drained(const struct channel *channel)
{
    return outbox_is_empty(&channel->outbox);
}
