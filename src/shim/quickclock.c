// SPDX-License-Identifier: Apache-2.0
#include "shim/quickclock.h"

#include <time.h>

enum {
    MOST_NS = 200 * 1000,   /* that a reading is gone on from */
    LEAST_NS = 1000 * 1000, /* by which the counter's rate is measured */
    INTERRUPTED_NS = 5 * 1000,
};

/* By one thread: what the kernel said, and the counter then. */
struct reading {
    uint64_t ns, ticks;
};

static __thread struct reading last;

/* The rate is that of all threads: nanoseconds for 2^20 ticks; 0: not known. */
static struct reading first;
static uint64_t rate;

static uint64_t kernel_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Threads that measure at once find nearly the same. A counter that stands still or goes back has
 * no rate, and the kernel is asked each time. */
static void measure(const struct reading *now)
{
    const uint64_t since_ns = __atomic_load_n(&first.ns, __ATOMIC_ACQUIRE);
    const uint64_t since_ticks = __atomic_load_n(&first.ticks, __ATOMIC_RELAXED);
    uint64_t ns_per_tick = 0;

    if (!since_ns || now->ns - since_ns > UINT64_C(1) << 40) {
        __atomic_store_n(&first.ticks, now->ticks, __ATOMIC_RELAXED);
        __atomic_store_n(&first.ns, now->ns, __ATOMIC_RELEASE);
        return;
    }
    if (now->ns < since_ns + LEAST_NS)
        return;
    if (now->ticks > since_ticks)
        ns_per_tick = ((now->ns - since_ns) << 20) / (now->ticks - since_ticks);
    __atomic_store_n(&rate, ns_per_tick, __ATOMIC_RELAXED);
}

/* A thread that was interrupted on the way does not know which tick that was. */
static uint64_t read_kernel(uint64_t ticks)
{
    const struct reading now = {kernel_ns(), ticks};
    const uint64_t took = quickclock_ticks() - ticks;

    last = (struct reading){0};
    if (took > UINT64_C(1) << 32 ||
        (took * __atomic_load_n(&rate, __ATOMIC_RELAXED)) >> 20 > INTERRUPTED_NS)
        return now.ns;
    measure(&now);
    last = now;
    return now.ns;
}

uint64_t quickclock_ns(void)
{
    const uint64_t ns_per_tick = __atomic_load_n(&rate, __ATOMIC_RELAXED);
    const uint64_t ticks = quickclock_ticks();
    const uint64_t since = ticks - last.ticks;
    uint64_t since_ns;

    if (!ns_per_tick || !last.ns || since > UINT64_C(1) << 32)
        return read_kernel(ticks);
    since_ns = (since * ns_per_tick) >> 20;
    return since_ns < MOST_NS ? last.ns + since_ns : read_kernel(ticks);
}

uint64_t quickclock_span(uint64_t ns)
{
    const uint64_t ns_per_tick = __atomic_load_n(&rate, __ATOMIC_RELAXED);

    return ns_per_tick ? (ns << 20) / ns_per_tick : 0;
}

uint64_t quickclock_since(uint64_t then_ns, uint64_t now_ns)
{
    return now_ns > then_ns ? now_ns - then_ns : 0;
}
