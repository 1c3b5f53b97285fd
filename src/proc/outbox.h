// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A channel's send queue: frames in order, written to the socket as it accepts them. The first
 * frame may be partly sent; it is never dropped or replaced.
 */

#include <stdbool.h>

#include "proc/frame.h"

struct outgoing;

struct outbox {
    struct outgoing *first, *last;
    size_t n_sent;  /* bytes of the first frame, header included */
    size_t n_bytes; /* of all frames, headers included */
    unsigned n_notices;
    uint64_t n_dropped; /* notices */
};

void outbox_deinit(struct outbox *outbox);

bool outbox_is_empty(const struct outbox *outbox);

/* Copies the frame behind the others (pings and pongs: before all that is not under way). 0 or
 * -ENOMEM. */
int outbox_push(struct outbox *outbox, const struct proc_frame *frame);

/* A notice: with newest, in the place of one of its kind that waits. When there are max already the
 * oldest that was pushed without newest goes. 0, -ENOBUFS (dropped and counted), -ENOMEM. */
int outbox_push_notice(struct outbox *outbox, const struct proc_frame *frame, bool newest,
                       unsigned max);

/* Sends until the socket is full or max_bytes went out. 0, or a negative errno but EAGAIN. */
int outbox_send(struct outbox *outbox, int fd, size_t max_bytes);
