// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Launches that follow each other through an open gate. When a launch has shown that the device is
 * not behind (lanes.h), and the one before it had, the thread counts its next launches into the
 * same stream by itself, and reads the gate alone: up to 15 launches, within 30 us. They are
 * claimed before the thread looks at everything again, and before it waits, for the device or at
 * the gate.
 *
 * So up to 15 commands of a thread that stops launching are not claimed as launched until it waits,
 * and those of a thread that ends never are. That something is behind the last fence is always
 * noted. A thread whose stream has much to do, or that pauses, does none of this.
 */

#include <stdbool.h>
#include <stdint.h>

#include "limits/page.h"
#include "shim/lanes.h"
#include "shim/quickclock.h"

enum {
    QUICKPASS_STREAMS = 4, /* of a thread; a power of two */
    QUICKPASS_MOST = 15,
    QUICKPASS_NS = 30 * 1000,
};

struct quickpass {
    CUstream stream; /* by its own handle; NULL: none */
    uint64_t generation;
    const uint64_t *generation_at;      /* where that is looked at, */
    const struct limits_device *device; /* the gate, */
    uint64_t end_ticks;                 /* and the clock */
    uint32_t n_left;                    /* launches until all is looked at; 0: now */
    uint32_t n;                         /* not claimed yet */
    struct lane *lane;
    CUcontext context; /* that has to be current; NULL: any */
    struct claims_device *claims;
    uint32_t round; /* of the thread, in which a launch has shown that the device is not behind */
} __attribute__((aligned(64)));

extern __thread struct quickpass quickpasses[QUICKPASS_STREAMS]
    __attribute__((visibility("hidden")));

static inline struct quickpass *quickpass_at(CUstream stream)
{
    const uintptr_t handle = (uintptr_t)stream;

    return &quickpasses[((handle >> 4) ^ (handle >> 10) ^ handle) % QUICKPASS_STREAMS];
}

/* A launch passes: the gate is as open as it was, and nothing that was found then has changed. */
static inline bool quickpass_take(struct quickpass *pass, CUstream stream)
{
    if (pass->n_left == 0 || pass->stream != stream ||
        __atomic_load_n(pass->generation_at, __ATOMIC_ACQUIRE) != pass->generation ||
        limits_load(pass->device->gate) != LIMITS_GATE_OPEN ||
        limits_load(pass->device->compute) == LIMITS_COMPUTE_NONE ||
        (int64_t)(pass->end_ticks - quickclock_ticks()) <= 0)
        return false;
    pass->n_left--;
    return true;
}

/* What has passed was launched. */
static inline void quickpass_count(struct quickpass *pass)
{
    pass->n++;
    lanes_note_tail(pass->lane);
}

/* Begins to look for the stream: what is found from then on holds as long as nothing changes. */
void quickpass_begin(struct quickpass *pass, CUstream stream);

/* A launch into its lane has shown that the device is not behind. The lane is of that context, and
 * the device at that place of the page and of the claims. */
void quickpass_open(struct quickpass *pass, struct lane *lane, CUcontext context,
                    const struct limits_device *device, struct claims_device *claims);

/* Claims what was counted. */
void quickpass_claim(struct quickpass *pass, uint64_t now_ns);

/* The same for all streams of the calling thread, none of which is open after that. */
void quickpass_claim_all(void);
