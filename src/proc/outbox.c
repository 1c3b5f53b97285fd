// SPDX-License-Identifier: Apache-2.0
#include "proc/outbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct outgoing {
    struct outgoing *next;
    enum proc_frame_type type;
    uint16_t kind;
    bool newest;
    size_t size; /* header and body */
    uint8_t bytes[];
};

static struct outgoing *new_outgoing(const struct proc_frame *frame)
{
    struct outgoing *outgoing = malloc(sizeof(*outgoing) + PROC_FRAME_HEADER_BYTES + frame->size);

    if (!outgoing)
        return NULL;
    *outgoing = (struct outgoing){
        .type = frame->type,
        .kind = frame->kind,
        .size = PROC_FRAME_HEADER_BYTES + frame->size,
    };
    proc_frame_write_header(frame, outgoing->bytes);
    if (frame->size)
        memcpy(outgoing->bytes + PROC_FRAME_HEADER_BYTES, frame->body, frame->size);
    return outgoing;
}

/* Inserts it after `before`; NULL = first. */
static void insert(struct outbox *outbox, struct outgoing *before, struct outgoing *outgoing)
{
    struct outgoing **link = before ? &before->next : &outbox->first;

    outgoing->next = *link;
    *link = outgoing;
    if (!outgoing->next)
        outbox->last = outgoing;
    outbox->n_bytes += outgoing->size;
    outbox->n_notices += outgoing->type == PROC_FRAME_NOTICE;
}

/* Removes the one after `before` and frees it. */
static void drop(struct outbox *outbox, struct outgoing *before)
{
    struct outgoing **link = before ? &before->next : &outbox->first;
    struct outgoing *outgoing = *link;

    *link = outgoing->next;
    if (outbox->last == outgoing)
        outbox->last = before;
    outbox->n_bytes -= outgoing->size;
    outbox->n_notices -= outgoing->type == PROC_FRAME_NOTICE;
    free(outgoing);
}

/* The last untouchable one: the frame being sent. */
static struct outgoing *under_way(const struct outbox *outbox)
{
    return outbox->n_sent ? outbox->first : NULL;
}

void outbox_deinit(struct outbox *outbox)
{
    while (outbox->first)
        drop(outbox, NULL);
    outbox->n_sent = 0;
}

bool outbox_is_empty(const struct outbox *outbox)
{
    return !outbox->first;
}

int outbox_push(struct outbox *outbox, const struct proc_frame *frame)
{
    const bool is_control = frame->type == PROC_FRAME_PING || frame->type == PROC_FRAME_PONG;
    struct outgoing *outgoing = new_outgoing(frame);

    if (!outgoing)
        return -ENOMEM;
    insert(outbox, is_control ? under_way(outbox) : outbox->last, outgoing);
    return 0;
}

static bool is_older(const struct outgoing *waiting, const struct proc_frame *frame, bool newest)
{
    if (waiting->type != PROC_FRAME_NOTICE)
        return false;
    return newest ? waiting->newest && waiting->kind == frame->kind : !waiting->newest;
}

/* Drops the first queued droppable one; false if there is none. */
static bool make_room(struct outbox *outbox, const struct proc_frame *frame, bool newest)
{
    struct outgoing *before = under_way(outbox);
    struct outgoing *waiting = before ? before->next : outbox->first;

    while (waiting && !is_older(waiting, frame, newest)) {
        before = waiting;
        waiting = waiting->next;
    }
    if (waiting)
        drop(outbox, before);
    return waiting != NULL;
}

int outbox_push_notice(struct outbox *outbox, const struct proc_frame *frame, bool newest,
                       unsigned max)
{
    struct outgoing *outgoing = new_outgoing(frame);

    if (!outgoing)
        return -ENOMEM;
    outgoing->newest = newest;
    if (newest)
        make_room(outbox, frame, true); /* what it replaces */
    if (outbox->n_notices >= max) {
        outbox->n_dropped++;
        if (!make_room(outbox, frame, false)) {
            free(outgoing);
            return -ENOBUFS;
        }
    }
    insert(outbox, outbox->last, outgoing);
    return 0;
}

int outbox_send(struct outbox *outbox, int fd, size_t max_bytes)
{
    size_t total = 0;

    while (outbox->first && total < max_bytes) {
        struct outgoing *first = outbox->first;
        ssize_t n = send(fd, first->bytes + outbox->n_sent, first->size - outbox->n_sent,
                         MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? 0 : -errno;
        total += (size_t)n;
        outbox->n_sent += (size_t)n;
        if (outbox->n_sent < first->size)
            continue;
        outbox->n_sent = 0;
        drop(outbox, NULL);
    }
    return 0;
}
