// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The gate that launches pass (doc/design/0028): what the container's page says of a device, and
 * what a thread does about it.
 *
 *     struct gate_launch launch = gate_enter(driver, stream, is_per_thread);
 *
 *     if (!launch.lane)
 *         return driver->...;
 *     return gate_leave(driver, launch, driver->...);
 *
 * Where no device is shared by turns, gate_enter is a look at one word of the page. An open gate
 * costs a counter, and a fence now and then. A thread waits in gate_enter alone: not in a call from
 * a stream, not while any stream of the process is captured, nor where that is not known, and not
 * for longer than GATE_LONGEST_NS.
 */

#include <stdbool.h>
#include <stdint.h>

#include "limits/page.h"
#include "shim/driver.h"
#include "shim/lanes.h"

#define GATE_AWAY_MS    100                 /* a beat as old is that of an arbiter which is away */
#define GATE_PERIOD_NS  UINT64_C(100000000) /* of which a container has its share then, */
#define GATE_AWAY_US    2000                /* with so much in flight */
#define GATE_LONGEST_NS UINT64_C(10000000000) /* that one launch waits */

/* --- pure --- */

struct gate_verdict {
    bool passes;
    bool is_away;          /* the arbiter; it goes by the clock */
    uint32_t in_flight_us; /* if it passes: what may be in flight then; 0: any ... */
    uint64_t end_ns;       /* ... that begins before the turn's end; 0: none */
};

/* `number` tells containers apart, so that not all have the same part of the period. */
struct gate_verdict gate_judge(const struct limits_page *page, const struct limits_device *device,
                               uint64_t number, uint64_t now_ns);

/* Where a wait is counted. */
unsigned gate_bin(uint64_t waited_ns);

/* --- of this process --- */

struct gate_launch {
    struct lane *lane;      /* NULL: it is not counted */
    struct quickpass *pass; /* by which it passed; NULL: it was looked at */
};

struct gate_launch gate_enter(const struct cuda_functions *driver, CUstream stream,
                              bool is_per_thread);

/* Returns r, which the launch had. */
CUresult gate_leave(const struct cuda_functions *driver, struct gate_launch launch, CUresult r);

/* Does the container's page say that the time of any device is shared? At once. */
bool gate_is_shared(void);

/* Does the calling thread claim what it does? Not in a call from a stream. */
bool gate_is_on(void);

/* A call from a stream into the program begins and ends, in this thread. */
void gate_begin_call(void);
void gate_end_call(void);
