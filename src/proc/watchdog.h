// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Ends this process when its event loop stands still, for a program that nobody else watches: a
 * container without a probe, which the kubelet starts again. (A child is pinged by the agent.)
 *
 * A timer of the kernel sends SIGALRM, and the loop postpones it. The first signal is a warning: a
 * process that was itself stopped for a while gets a quarter of the limit to go on. It does not
 * help a process that is stopped for good, or stuck in the kernel.
 */

#include <stdint.h>
#include <uv.h>

enum { WATCHDOG_MS = 60000, WATCHDOG_EXIT = 70 };

/* One per process. */
struct watchdog {
    uv_timer_t timer;
    uint64_t limit_ms;
};

/* Does not keep the loop alive. */
void watchdog_start(struct watchdog *watchdog, uv_loop_t *loop, uint64_t limit_ms);

/* Before the loop ends, which still has to close a handle. */
void watchdog_stop(struct watchdog *watchdog);
