// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One end of a connection between two of our processes, on a libuv loop.
 *
 * It carries notices, and requests with their responses, both ways (frame.h). Nothing here blocks
 * and nothing grows without bound: queued frames are limited in number and bytes, bodies in size,
 * and one loop iteration reads a limited number of frames and bytes, so that a misbehaving peer
 * cannot starve the others. While too much is queued for a peer that does not read, nothing more is
 * read from it either.
 *
 * The first frame of each side is a hello. A peer that sends nothing for ping_ms is pinged, and one
 * that stays silent for another pong_ms counts as hung. However a channel ends, on_end runs once,
 * from the loop, never from within a function of this header.
 *
 * Callbacks may call every function here, including channel_free.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "base/error.h"

enum {
    CHANNEL_NAME_SIZE = 64,
    CHANNEL_MAX_CALLS = 256,         /* pending requests per side */
    CHANNEL_FRAMES_PER_TURN = 64,    /* read in one loop iteration ... */
    CHANNEL_BYTES_PER_TURN = 1 << 18 /* ... and bytes, also written */
};

struct channel;

enum channel_end {
    CHANNEL_EOF,       /* the peer closed its end */
    CHANNEL_BROKEN,    /* the socket failed, or out of memory */
    CHANNEL_PROTOCOL,  /* the peer uses another version, or sent invalid data */
    CHANNEL_HANGS,     /* the peer does not answer a ping, or never sent hello */
    CHANNEL_END_BY_US, /* channel_abort */
};

enum channel_result {
    CHANNEL_ANSWERED,
    CHANNEL_TIMED_OUT, /* the deadline passed; a late response is ignored */
    CHANNEL_REFUSED,   /* the peer has too many pending requests */
    CHANNEL_CLOSED,    /* the channel ended or was freed */
};

/* A response. body is borrowed, NUL-terminated after its last byte; NULL unless
 * CHANNEL_ANSWERED. */
struct channel_answer {
    enum channel_result result;
    uint16_t kind;
    const char *body;
    size_t size;
};

typedef void channel_done_fn(const struct channel_answer *answer, void *userdata);

/* Bodies are borrowed, and NUL-terminated after their last byte. Any may be NULL. */
struct channel_callbacks {
    /* The peer's first frame; again if the peer re-executed itself. */
    void (*on_hello)(struct channel *channel, const char *name, void *userdata);
    void (*on_notice)(struct channel *channel, uint16_t kind, const char *body, size_t size,
                      void *userdata);
    /* To be answered by channel_answer with this id, now or later. */
    void (*on_request)(struct channel *channel, uint32_t id, uint16_t kind, const char *body,
                       size_t size, void *userdata);
    /* Everything queued has been handed to the kernel. */
    void (*on_drain)(struct channel *channel, void *userdata);
    /* The channel ended; free it. */
    void (*on_end)(struct channel *channel, enum channel_end end, const char *sentence,
                   void *userdata);
};

struct channel_options {
    const char *name;           /* of this program, sent to the peer; static */
    uint32_t max_body_bytes;    /* of a sent frame; 0 = 1 MiB */
    uint32_t max_receive_bytes; /* of a received frame; 0 = as max_body_bytes */
    size_t max_queued_bytes;    /* queued; 0 = 4 MiB */
    unsigned max_notices;       /* queued; 0 = 64 */
    uint64_t hello_ms;          /* for the peer's hello; 0 = as ping_ms + pong_ms */
    uint64_t ping_ms, pong_ms;  /* ping_ms 0 = no heartbeat */
    bool is_from_stranger; /* anybody may be at the other end: see peersocket.h, peerprocess.h */
    /* Called before a silent peer counts as hung: true = it is known to be busy, ping it again
     * later. NULL = never. Gets the callbacks' userdata. */
    bool (*is_busy)(void *userdata);
};

/*
 * Takes ownership of fd (a connected stream socket), also on failure. Options are copied. The
 * socket becomes non-blocking.
 */
int channel_new(uv_loop_t *loop, int fd, const struct channel_options *options,
                const struct channel_callbacks *callbacks, void *userdata,
                struct channel **ret_channel, struct error *err);

/*
 * NULL is allowed. Each pending request of ours is completed with CHANNEL_CLOSED before this
 * returns; no other callback runs any more.
 */
void channel_free(struct channel *channel);

/* Replaces the callbacks. */
void channel_set_callbacks(struct channel *channel, const struct channel_callbacks *callbacks,
                           void *userdata);

/* Ends it: on_end runs from the loop, with CHANNEL_END_BY_US and this sentence. */
void channel_abort(struct channel *channel, const char *sentence);

/* The peer is known to be dead: reads everything it sent before, without the usual limits. */
void channel_receive_last(struct channel *channel);

/* The peer's name, or NULL before its hello. */
const char *channel_peer(const struct channel *channel);

/* The process that opened the peer's end, as the kernel tells; 0 if it does not, or if that is in
 * another namespace. Of a stranger, 0 also once it has ended: its number may be another's then. */
pid_t channel_peer_pid(const struct channel *channel);

/* True if nothing is queued. */
bool channel_is_drained(const struct channel *channel);

enum channel_keep {
    CHANNEL_KEEP_ALL,
    CHANNEL_KEEP_NEWEST /* replaces a queued notice of the same kind that is not being sent yet */
};

/*
 * Queues a notice. If there are too many, the oldest queued CHANNEL_KEEP_ALL one is dropped, and
 * counted. 0; -ENOBUFS (this one was dropped, and counted), -EMSGSIZE, -ENOMEM, -EPIPE.
 */
int channel_notify(struct channel *channel, uint16_t kind, enum channel_keep keep, const void *body,
                   size_t size);

/* Dropped notices. */
uint64_t channel_n_dropped(const struct channel *channel);

/*
 * Sends a request. done runs exactly once, from the loop or from channel_free, within deadline_ms;
 * unless this fails: -ENOBUFS (too many pending, or too much queued), -EMSGSIZE, -ENOMEM, -EPIPE.
 */
int channel_request(struct channel *channel, uint16_t kind, const void *body, size_t size,
                    uint64_t deadline_ms, channel_done_fn *done, void *userdata);

/* Responds to a request of the peer, once. 0; -ENOENT (no such request is pending), -EMSGSIZE,
 * -ENOMEM, -EPIPE. */
int channel_answer(struct channel *channel, uint32_t id, uint16_t kind, const void *body,
                   size_t size);
