// SPDX-License-Identifier: Apache-2.0
#include "proc/pause.h"

#include <signal.h>
#include <time.h>

static sigset_t ending_signals(void)
{
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    return signals;
}

void pause_mask(int how)
{
    const sigset_t signals = ending_signals();

    sigprocmask(how, &signals, NULL);
}

bool pause_ms(uint64_t ms)
{
    const struct timespec wait = {.tv_sec = (time_t)(ms / 1000),
                                  .tv_nsec = (long)(ms % 1000) * 1000000};
    const sigset_t signals = ending_signals();

    return sigtimedwait(&signals, NULL, &wait) < 0;
}
