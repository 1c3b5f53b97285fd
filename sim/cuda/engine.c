// SPDX-License-Identifier: Apache-2.0
#include "cuda/engine.h"

#include <errno.h>
#include <time.h>

#include "base/clock.h"

void engine_spend(const struct cuda_device *device, uint64_t duration_ns)
{
    const uint64_t end = clock_now_ns() + duration_ns;
    const struct timespec at = {(time_t)(end / 1000000000u), (long)(end % 1000000000u)};

    while (duration_ns > 0 && clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
        ;
}
