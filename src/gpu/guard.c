// SPDX-License-Identifier: Apache-2.0
#include "gpu/guard.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/timerfd.h>

static _Thread_local struct guard *thread_guard;

static void set_timer(int fd, uint64_t ms)
{
    struct itimerspec spec = {
        .it_value = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000},
    };

    (void)timerfd_settime(fd, 0, &spec, NULL);
}

void guard_init(struct guard *guard, struct guard_slot *slot, int timer_fd, uint64_t deadline_ms)
{
    *guard = (struct guard){.slot = slot, .timer_fd = timer_fd, .deadline_ms = deadline_ms};
    set_timer(timer_fd, 0);
    atomic_fetch_and_explicit(&slot->turn, ~1U, memory_order_release);
}

void guard_thread(struct guard *guard)
{
    thread_guard = guard;
}

void guard_enter(const char *call, const char *uuid, uint64_t more_ms)
{
    struct guard *guard = thread_guard;

    if (!guard)
        return;
    snprintf(guard->slot->call, sizeof(guard->slot->call), "%s", call);
    snprintf(guard->slot->uuid, sizeof(guard->slot->uuid), "%s", uuid);
    atomic_fetch_or_explicit(&guard->slot->turn, 1, memory_order_release);
    if (more_ms == GUARD_SLOW)
        more_ms = 2 * guard->deadline_ms;
    set_timer(guard->timer_fd, guard->deadline_ms + more_ms);
}

void guard_leave(void)
{
    struct guard *guard = thread_guard;

    if (!guard)
        return;
    set_timer(guard->timer_fd, 0);
    atomic_fetch_add_explicit(&guard->slot->turn, 1, memory_order_release);
}

bool guard_overrun(const struct guard_slot *slot, char *ret_call, char *ret_uuid)
{
    uint32_t turn = atomic_load_explicit(&slot->turn, memory_order_acquire);

    if (!(turn & 1))
        return false;
    memcpy(ret_call, slot->call, GUARD_CALL_SIZE);
    memcpy(ret_uuid, slot->uuid, GUARD_UUID_SIZE);
    ret_call[GUARD_CALL_SIZE - 1] = '\0';
    ret_uuid[GUARD_UUID_SIZE - 1] = '\0';
    return atomic_load_explicit(&slot->turn, memory_order_acquire) == turn;
}
