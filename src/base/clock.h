// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Monotonic time in the units that callers use. */

#include <stdint.h>
#include <time.h>

static inline uint64_t clock_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline uint64_t clock_now_ms(void)
{
    return clock_now_ns() / 1000000u;
}

/* The next delay of a back-off: twice this one, at most last_ms. */
static inline uint64_t clock_twice_ms(uint64_t ms, uint64_t last_ms)
{
    return ms < last_ms / 2 ? ms * 2 : last_ms;
}
