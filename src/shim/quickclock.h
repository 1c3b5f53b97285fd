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

/* Nanoseconds since `then_ns`; 0 where that is later. */
uint64_t quickclock_since(uint64_t then_ns, uint64_t now_ns);
