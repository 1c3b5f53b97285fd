// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A watchdog for calls into the driver, which may hang forever.
 *
 * Two processes share a page and one timerfd per lane (a thread of the helper that makes driver
 * calls). Before a call the lane writes the call's name into the page and arms its timer; after the
 * call it disarms it. Neither causes a wake-up. Only if a call exceeds its deadline does the timer
 * fire, and the other process, which polls the timer, reads from the page which call it was.
 *
 * A thread without a guard (tools, tests) costs one comparison per call.
 */

#include <stdbool.h>
#include <stdint.h>

enum guard_lane { GUARD_CALLS, GUARD_EVENTS };
enum { GUARD_LANES = 2, GUARD_CALL_SIZE = 64, GUARD_UUID_SIZE = 96 };

/* The state of a lane. `turn` is odd during a call. */
struct guard_slot {
    _Atomic uint32_t turn;
    char call[GUARD_CALL_SIZE];
    char uuid[GUARD_UUID_SIZE]; /* "" = no device; "#3" = the device of that index */
};

/* The shared page. */
struct guard_page {
    struct guard_slot slots[GUARD_LANES];
};

struct guard {
    struct guard_slot *slot;
    int timer_fd;
    uint64_t deadline_ms;
};

/* Takes over a lane, even from a process that was in the middle of a call. */
void guard_init(struct guard *guard, struct guard_slot *slot, int timer_fd, uint64_t deadline_ms);

/* Guards this thread's calls; the guard must outlive the thread; NULL = none. */
void guard_thread(struct guard *guard);

/*
 * Around one driver call of this thread. more_ms is extra time that the call may take; GUARD_SLOW
 * is three deadlines, for calls that may initialise a cold GPU (seconds for each).
 */
#define GUARD_SLOW UINT64_MAX
void guard_enter(const char *call, const char *uuid, uint64_t more_ms);
void guard_leave(void);

/*
 * For the watching process, when the timer fired. True if the lane is still in a call, with its
 * name and device (GUARD_CALL_SIZE and GUARD_UUID_SIZE bytes); false if it has returned in the
 * meantime.
 */
bool guard_overrun(const struct guard_slot *slot, char *ret_call, char *ret_uuid);
