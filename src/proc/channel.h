// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One end of a connection between two of our processes, on a libuv loop.
 *
 * It carries notices, and requests with their answers, both ways (frame.h). Nothing here blocks and
 * nothing grows without a bound: what waits to be sent has a limit in number and in bytes, a body
 * has a limit, and one turn of the loop reads a bounded number of frames and bytes, so that a peer
 * gone mad cannot starve the others. While too much waits for a peer that does not read, nothing
 * more is read from it either.
 *
 * The first frame of each side is a hello. A peer that sends nothing for ping_ms is pinged, and one
 * that stays silent for pong_ms more hangs. However a channel ends, on_end runs once, from the
 * loop, never from within a call of this header.
 *
 * Callbacks may call everything here, channel_free included.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"

enum {
    CHANNEL_NAME_SIZE = 64,
    CHANNEL_MAX_CALLS = 256,         /* requests of one side that are not answered yet */
    CHANNEL_FRAMES_PER_TURN = 64,    /* read in one turn of the loop ... */
    CHANNEL_BYTES_PER_TURN = 1 << 18 /* ... and bytes, also written */
};

struct channel;

enum channel_end {
    CHANNEL_EOF,       /* the peer closed its end */
    CHANNEL_BROKEN,    /* the socket failed, or there is no memory */
    CHANNEL_PROTOCOL,  /* the peer uses another version, or sent invalid data */
    CHANNEL_HANGS,     /* the peer does not answer a ping, or never said hello */
    CHANNEL_END_BY_US, /* channel_abort */
};

enum channel_result {
    CHANNEL_ANSWERED,
    CHANNEL_TIMED_OUT, /* the deadline passed; the answer, if it comes, is ignored */
    CHANNEL_REFUSED,   /* the peer has too many requests to answer */
    CHANNEL_CLOSED,    /* the channel ended or was freed */
};

/* An answer. body is borrowed, NUL-terminated behind its last byte; NULL unless CHANNEL_ANSWERED.
 */
struct channel_answer {
    enum channel_result result;
    uint16_t kind;
    const char *body;
    size_t size;
};

typedef void channel_done_fn(const struct channel_answer *answer, void *userdata);

/* Bodies are borrowed, and NUL-terminated behind their last byte. Any may be NULL. */
struct channel_callbacks {
    /* The peer's first frame; again when the peer executed itself again. */
    void (*on_hello)(struct channel *channel, const char *name, void *userdata);
    void (*on_notice)(struct channel *channel, uint16_t kind, const char *body, size_t size,
                      void *userdata);
    /* To be answered by channel_answer with this id, now or later. */
    void (*on_request)(struct channel *channel, uint32_t id, uint16_t kind, const char *body,
                       size_t size, void *userdata);
    /* Everything queued has been handed to the kernel. */
    void (*on_drain)(struct channel *channel, void *userdata);
    /* It is over; free the channel. */
    void (*on_end)(struct channel *channel, enum channel_end end, const char *sentence,
                   void *userdata);
};

struct channel_options {
    const char *name;           /* of this program, for the peer; static */
    uint32_t max_body_bytes;    /* of a frame sent; 0 = 1 MiB */
    uint32_t max_receive_bytes; /* of a frame received; 0 = as max_body_bytes */
    size_t max_queued_bytes;    /* waiting to be sent; 0 = 4 MiB */
    unsigned max_notices;       /* waiting to be sent; 0 = 64 */
    uint64_t hello_ms;          /* for the peer's hello; 0 = as ping_ms + pong_ms */
    uint64_t ping_ms, pong_ms;  /* ping_ms 0 = no heartbeat */
    /* Called before a silent peer counts as hung: true = it is known to be busy, ping it again
     * later. NULL = never. Gets the callbacks' userdata. */
    bool (*is_busy)(void *userdata);
};

/*
 * Takes fd (a connected stream socket), also on failure. Options are copied. The socket becomes
 * non-blocking.
 */
int channel_new(uv_loop_t *loop, int fd, const struct channel_options *options,
                const struct channel_callbacks *callbacks, void *userdata,
                struct channel **ret_channel, struct error *err);

/*
 * NULL is fine. Each open request of ours is done with CHANNEL_CLOSED before this returns; no other
 * callback runs any more.
 */
void channel_free(struct channel *channel);

/* Somebody else listens from now on. */
void channel_set_callbacks(struct channel *channel, const struct channel_callbacks *callbacks,
                           void *userdata);

/* Ends it: on_end runs soon, with CHANNEL_END_BY_US and this sentence. */
void channel_abort(struct channel *channel, const char *sentence);

/* The peer is known to be dead: takes what it sent before, now and not in shares. */
void channel_receive_last(struct channel *channel);

/* The peer's name, or NULL before its hello. */
const char *channel_peer(const struct channel *channel);

/* True when nothing waits to be sent. */
bool channel_is_drained(const struct channel *channel);

enum channel_keep {
    CHANNEL_KEEP_ALL,
    CHANNEL_KEEP_NEWEST /* replaces a notice of the same kind that is not under way yet */
};

/*
 * Queues a notice. When there are too many, the oldest CHANNEL_KEEP_ALL one that waits is dropped
 * for it, and counted. 0; -ENOBUFS (this one was dropped, and counted), -EMSGSIZE, -ENOMEM, -EPIPE.
 */
int channel_notify(struct channel *channel, uint16_t kind, enum channel_keep keep, const void *body,
                   size_t size);

/* Notices that were dropped. */
uint64_t channel_n_dropped(const struct channel *channel);

/*
 * Sends a request. done runs exactly once, from the loop or from channel_free, within deadline_ms;
 * unless this fails: -ENOBUFS (too many are open, or too much is queued), -EMSGSIZE, -ENOMEM,
 * -EPIPE.
 */
int channel_request(struct channel *channel, uint16_t kind, const void *body, size_t size,
                    uint64_t deadline_ms, channel_done_fn *done, void *userdata);

/* Answers a request of the peer's, once. 0; -ENOENT (no such request is open), -EMSGSIZE, -ENOMEM,
 * -EPIPE. */
int channel_answer(struct channel *channel, uint32_t id, uint16_t kind, const void *body,
                   size_t size);
