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

struct lane {
    CUstream stream;   /* by its own handle, never NULL */
    CUcontext context; /* that it was found in */
    CUdevice device;
    int thread; /* of its default stream: the kernel's number */
    int slot;   /* the session's */
    int number; /* of the lane in the claims of the device; negative: it has none */
    enum { LANE_FREE, LANE_USED, LANE_ENDING } state;
    bool is_tail;                /* something was launched behind the last fence */
    bool is_taken;               /* by a thread, which alone has what follows */
    const struct claims *claims; /* NULL: the driver was not asked yet */
    CUdeviceptr at;              /* where the driver has them */
    uint32_t fence;              /* the last one */
    uint64_t fence_ns;           /* when that was put, or tried */
    struct queue queue;
};

/* The page of claims to write to from now on; asks the session where there is none, or another
 * arbiter. False: there are no turns. */
bool lanes_start(void);

/* Are there turns, as far as is known? At once. */
bool lanes_are_on(void);

/* What the process claims of a device, by its position in the page of the container. NULL: nothing.
 */
struct claims_device *lanes_claims(int position);

/* The lane of a stream as it was passed to a launch: NULL is one of the two default streams. NULL:
 * nothing is limited there, or nobody knows. */
struct lane *lanes_find(const struct cuda_functions *driver, CUstream stream, bool is_per_thread);

/* Something was launched into it: puts a fence behind that if the last one is older than 100 us. */
void lanes_launched(const struct cuda_functions *driver, struct lane *lane, uint64_t now_ns);

/* Puts a fence behind what is in the stream, unless there is one. */
void lanes_fence(const struct cuda_functions *driver, struct lane *lane, uint64_t now_ns);

/* The same of all streams of the calling thread's context. */
void lanes_fence_all(const struct cuda_functions *driver, uint64_t now_ns);

/* What a lane has to do still (queue.h), looked at now, and how long a command takes; 0: nothing,
 * or nobody knows. */
uint64_t lanes_queue_ns(struct lane *lane, uint64_t now_ns, uint64_t *ret_command_ns);

/* A stream is about to be destroyed: what is in it is still done. */
void lanes_end_stream(const struct cuda_functions *driver, CUstream stream);

/* Fences that are being put are in their streams, or refused, when it returns. */
void lanes_settle(void);

/* Contexts have ended, and all that was in their streams. */
typedef bool lanes_match_fn(CUcontext context, CUdevice device, const void *userdata);
void lanes_end_contexts(lanes_match_fn *match, const void *userdata);
