// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * CLOCK_MONOTONIC for who asks at each launch: read from the processor's counter, as far as that
 * goes on from the last time that the kernel was asked, which is a moment ago at most.
 *
 * It may be some microseconds ahead or behind, and so go back a little: subtract by
 * quickclock_since.
 */

#include <stdint.h>

uint64_t quickclock_ns(void);

/* The processor's counter; 0: it has none that is known. */
static inline uint64_t quickclock_ticks(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t ticks;

    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#else
    return 0;
#endif
}

/* How far it goes on in so many nanoseconds, 1 s at most; 0: not known yet. */
uint64_t quickclock_span(uint64_t ns);

/* Nanoseconds since `then_ns`; 0 where that is later. */
uint64_t quickclock_since(uint64_t then_ns, uint64_t now_ns);
