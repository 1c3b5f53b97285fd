// SPDX-License-Identifier: Apache-2.0
#pragma once

/* For tests: listens to a driver, remembers what came in, and waits for more. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gpu/driver.h"

/* Long enough for a slow machine under a sanitizer; nothing waits so long when all is well. */
enum { TIMEOUT_MS = 20000 };

/* What came in, and the loop it came in by. */
struct seen {
    uv_loop_t loop;
    uv_timer_t timer;
    bool late;
    struct driver *driver;
    struct inventory inventory; /* the last one */
    unsigned n_lost;            /* probes that said so, of lost_uuid */
    char lost_uuid[GPU_UUID_SIZE];
    unsigned n_inventories, n_events, n_probes, n_watched, n_unwatched, n_unavailable, n_hangs;
    struct gpu_event event;
    char probed[GPU_UUID_SIZE], reason[256], hung_call[64], hung_uuid[GPU_UUID_SIZE];
    bool stuck;
    int outcome;
    struct gpu_probe probe;
};

/* Runs the loop until the condition holds. */
#define WAIT_FOR(seen, condition)                                    \
    do {                                                             \
        (seen)->late = false;                                        \
        uv_timer_start(&(seen)->timer, seen_on_late, TIMEOUT_MS, 0); \
        while (!(condition) && !(seen)->late)                        \
            uv_run(&(seen)->loop, UV_RUN_ONCE);                      \
        if (!(condition))                                            \
            fail_msg("waited in vain for: %s", #condition);          \
        uv_timer_stop(&(seen)->timer);                               \
    } while (0)

void seen_on_late(uv_timer_t *timer);

/* The loop without a driver yet; seen is zeroed. */
void seen_init(struct seen *seen);

/* Starts a driver whose helper is this test program. */
void seen_start(struct seen *seen, const char *library, uint64_t deadline_ms);

/* Ends the driver, if any, and runs the loop until all of it is gone. */
void seen_deinit(struct seen *seen);

extern const struct driver_callbacks seen_callbacks;

/* Removes a directory of a test with all that is in it. */
void seen_remove_tree(const char *path);
