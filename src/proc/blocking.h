// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The end of a channel for a program without an event loop: the driver helper, and the liveness
 * probe.
 *
 * Any thread may send; frames are written whole. One thread receives. It answers pings, so it must
 * return here before the peer's timeout, unless the peer otherwise knows that it is alive. Nothing
 * is read beyond the returned frame: the program may exec in between.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "proc/frame.h"

/* The outcome of blocking_receive besides 0 and negative errnos. */
enum blocking_outcome { BLOCKING_TIMEOUT = 1 };

struct blocking_channel {
    int fd; /* borrowed */
    pthread_mutex_t lock;
    struct proc_frame_reader reader;
    bool is_complete; /* the frame returned last is still in the reader */
};

void blocking_init(struct blocking_channel *channel, int fd, uint32_t max_body_bytes);

/* Does not close fd. */
void blocking_deinit(struct blocking_channel *channel);

/* Sends hello: the first frame of each side. name: of this program. 0 or a negative errno. */
int blocking_hello(struct blocking_channel *channel, const char *name);

/* Sends a whole frame; blocks while the peer does not read. 0 or a negative errno (-EPIPE: no
 * receiver). Any thread. */
int blocking_send(struct blocking_channel *channel, const struct proc_frame *frame);

/*
 * The next frame that is no ping, pong or hello; valid until the next call. until_ms: of
 * base/clock.h; UINT64_MAX = no limit. BLOCKING_TIMEOUT keeps what was received for the next call.
 * -ENODATA: the peer is gone. -EPROTO with a sentence: it is none of ours.
 */
int blocking_receive(struct blocking_channel *channel, uint64_t until_ms,
                     struct proc_frame *ret_frame, struct error *err);
