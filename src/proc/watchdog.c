// SPDX-License-Identifier: Apache-2.0
#include "proc/watchdog.h"

#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

enum { KICKS = 4 /* per limit */ };

static volatile sig_atomic_t is_late;

static struct timeval as_timeval(uint64_t ms)
{
    return (struct timeval){.tv_sec = (time_t)(ms / 1000),
                            .tv_usec = (suseconds_t)(ms % 1000) * 1000};
}

static void on_alarm(int number)
{
    static const char sentence[] = "the event loop stands still; exiting\n";

    (void)number;
    if (!is_late) {
        is_late = 1;
        return;
    }
    (void)!write(STDERR_FILENO, sentence, sizeof(sentence) - 1);
    _exit(WATCHDOG_EXIT);
}

static void arm(uint64_t limit_ms)
{
    const struct itimerval timer = {.it_value = as_timeval(limit_ms),
                                    .it_interval = as_timeval(limit_ms / KICKS)};

    setitimer(ITIMER_REAL, &timer, NULL);
}

static void on_kick(uv_timer_t *timer)
{
    const struct watchdog *watchdog = timer->data;

    is_late = 0;
    arm(watchdog->limit_ms);
}

void watchdog_start(struct watchdog *watchdog, uv_loop_t *loop, uint64_t limit_ms)
{
    const struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};

    watchdog->limit_ms = limit_ms;
    uv_timer_init(loop, &watchdog->timer);
    watchdog->timer.data = watchdog;
    uv_timer_start(&watchdog->timer, on_kick, 0, limit_ms / KICKS);
    uv_unref((uv_handle_t *)&watchdog->timer);
    is_late = 0;
    sigaction(SIGALRM, &action, NULL);
    arm(limit_ms);
}

void watchdog_stop(struct watchdog *watchdog)
{
    arm(0);
    uv_close((uv_handle_t *)&watchdog->timer, NULL);
}
