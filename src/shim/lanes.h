// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The streams of this process, and for each a lane in its page of claims (limits/claims.h), where
 * fences show what of the stream is done.
 *
 * A stream is known from its first launch on until it is destroyed, or its context. Later ones than
 * there are lanes for have none, and count as never busy. A fence is a word that the device itself
 * writes; the page is registered with the driver when a context has its first one (claimmaps.h). No
 * thread of ours calls the driver, and no lock is held across its calls: who finds a stream being
 * fenced lets it be.
 *
 * A forked child has none of this, and starts over with a page of its own.
 */

#include <stdbool.h>
#include <stdint.h>

#include "limits/claims.h"
#include "shim/driver.h"
#include "shim/queue.h"

/* What was launched behind the last fence. */
enum lane_tail {
    LANE_TAIL_NONE,    /* nothing, or it is done */
    LANE_TAIL_AWAITED, /* something, and nothing since a thread began to wait for it */
    LANE_TAIL_NEW,
};

struct lane {
    CUstream stream;   /* by its own handle, never NULL */
    CUcontext context; /* that it was found in */
    CUdevice device;
    int thread; /* of its default stream: the kernel's number */
    int slot;   /* the session's */
    int number; /* of the lane in the claims of the device; negative: it has none */
    enum { LANE_FREE, LANE_USED, LANE_ENDING } state;
    int tail;                    /* enum lane_tail */
    bool is_gated;               /* its launches go by turns: fences tell what is in flight */
    bool is_taken;               /* by a thread, which alone has what follows */
    const struct claims *claims; /* NULL: the driver was not asked yet */
    const uint32_t *done;        /* the device's word there, for the launch path */
    CUdeviceptr at;              /* where the driver has them */
    uint32_t fence;              /* the last one */
    uint64_t fence_ns;           /* when that was put, or tried */
    bool is_first;               /* of a burst */
    uint64_t seen_ns;            /* when it was first seen to be passed; 0: it was not */
    uint64_t launched_ns;        /* the last launch */
    uint64_t period_ns;          /* the least until the next one */
    struct queue queue;
    uint32_t n_counted;              /* of queue.n_done: the claims have them */
    int waiter;                      /* the thread that waits for it, without a fence; 0: none */
    struct claims_device *waited_in; /* where that is claimed */
};

/* What a lane has to do still (queue.h). */
struct lane_work {
    uint64_t ns;         /* 0: nothing, or nobody knows; UINT64_MAX: not how much */
    uint64_t command_ns; /* 0: not known */
    uint64_t first_ns;   /* that the first command has been at work */
};

/* A thread waits for a stream, without a fence. */
struct lane_wait {
    uint32_t n_given; /* commands in it, ever */
};

/* The page of claims to write to from now on; asks the session where there is none, or another
 * arbiter. False: there are no turns. */
bool lanes_start(void);

/* Are there turns, as far as is known? At once. */
bool lanes_are_on(void);

/* What a thread has found out of streams and captures is right as long as this number is the same.
 * What is above its 32nd bit is another one in each process. 0: nothing is right. */
uint64_t lanes_generation(void);

/* Where it is, once it is not 0. */
const uint64_t *lanes_generation_at(void);

/* What the process claims of a device, by its position in the page of the container. NULL: nothing.
 */
struct claims_device *lanes_claims(int position);

/* A stream by its own handle: NULL is one of the two default streams. */
static inline CUstream lanes_handle(CUstream stream, bool is_per_thread)
{
    if (stream)
        return stream;
    return is_per_thread ? CU_STREAM_PER_THREAD : CU_STREAM_LEGACY;
}

/* The lane of a stream as it was passed to a launch: NULL is one of the two default streams. NULL:
 * nothing is limited there, or nobody knows. */
struct lane *lanes_find(const struct cuda_functions *driver, CUstream stream, bool is_per_thread);

/* Something was launched into it: puts a fence behind that if the last one is older than 100 us, or
 * up to 1.6 ms while that is passed at once and launches follow each other. Claims what is done of
 * what was launched before. True: the device has passed the last fence, and none is due, so that
 * launches of the next moment may be claimed later. */
bool lanes_launched(const struct cuda_functions *driver, struct lane *lane, uint64_t now_ns);

/* The first part of that, for who claims later: there is a tail from now on. A thread that launches
 * and then sees LANE_TAIL_NEW needs to write nothing: another thread that changes it to something
 * else calls the driver for this stream after that, and so after the launch. */
static inline void lanes_note_tail(struct lane *lane)
{
    if (__atomic_load_n(&lane->tail, __ATOMIC_ACQUIRE) != LANE_TAIL_NEW)
        __atomic_store_n(&lane->tail, LANE_TAIL_NEW, __ATOMIC_RELEASE);
}

/* The rest, of so many launches. */
void lanes_given(struct lane *lane, uint32_t n, uint64_t now_ns);

/* Puts a fence behind what is in the stream, unless there is one. */
void lanes_fence(const struct cuda_functions *driver, struct lane *lane, uint64_t now_ns);

/* The same of all streams of the calling thread's context. */
void lanes_fence_all(const struct cuda_functions *driver, uint64_t now_ns);

/* The same of a stream by its own handle, or (NULL) of all of the context, if it is time for the
 * next one behind a launch. */
void lanes_fence_due(const struct cuda_functions *driver, CUstream stream, uint64_t now_ns);

/* How many have something that has no fence, of the stream by its own handle, or (NULL) of all of
 * the calling thread's context ... A stream that nobody launched into stays unknown. */
unsigned lanes_find_new(const struct cuda_functions *driver, CUstream stream,
                        struct lane **ret_one); /* ... and nobody waited for it; */
unsigned lanes_find_recent(const struct cuda_functions *driver, CUstream stream, uint64_t now_ns,
                           struct lane **ret_one); /* ... and it may still be at work */

/* A thread is about to wait for the stream: claims that, in place of a fence, if what is in it
 * takes but a moment. False: nothing of it, or it takes longer, or another thread waits for it. A
 * thread that is cancelled while it waits, or leaves by longjmp, is found out by the waits of
 * others, or its own next one. */
bool lanes_begin_wait(struct lane *lane, uint64_t now_ns, struct lane_wait *ret_wait);

/* is_done: what was in the stream then. */
void lanes_end_wait(struct lane *lane, const struct lane_wait *wait, bool is_done, uint64_t now_ns);

/* Looked at now. */
struct lane_work lanes_look(struct lane *lane, uint64_t now_ns);

/* A stream is about to be destroyed: what is in it is still done. */
void lanes_end_stream(const struct cuda_functions *driver, CUstream stream);

/* Fences that are being put are in their streams, or refused, when it returns; and what a thread
 * has found is right no longer. */
void lanes_settle(void);

/* Contexts have ended, and all that was in their streams. */
typedef bool lanes_match_fn(CUcontext context, CUdevice device, const void *userdata);
void lanes_end_contexts(lanes_match_fn *match, const void *userdata);
