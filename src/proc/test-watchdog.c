// SPDX-License-Identifier: Apache-2.0
#include "proc/watchdog.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { SHORT_MS = 200, EXIT_ALIVE = 3 };

static uv_loop_t loop;
static struct watchdog watchdog;

/* How a process ends that has a watchdog and does this. */
static int status_of(void (*act)(void))
{
    const pid_t pid = fork();
    int status;

    assert_true(pid >= 0);
    if (pid == 0) {
        uv_loop_init(&loop);
        act();
        _exit(EXIT_ALIVE);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void stand_still(void)
{
    watchdog_start(&watchdog, &loop, SHORT_MS);
    uv_run(&loop, UV_RUN_NOWAIT);
    for (;;)
        pause();
}

static void a_loop_that_stands_still_is_ended(void **state)
{
    (void)state;
    assert_int_equal(status_of(stand_still), WATCHDOG_EXIT);
}

static void on_end(uv_timer_t *timer)
{
    uv_stop(timer->loop);
}

/* As when a stopped process goes on: its alarm is due before its loop runs. */
static void be_late_and_go_on(void)
{
    uv_timer_t other; /* a loop without any runs nothing */

    uv_timer_init(&loop, &other);
    uv_timer_start(&other, on_end, WATCHDOG_MS, 0);
    watchdog_start(&watchdog, &loop, WATCHDOG_MS);
    for (unsigned i = 0; i < 3; i++) {
        raise(SIGALRM);
        uv_timer_start(&watchdog.timer, watchdog.timer.timer_cb, 0, WATCHDOG_MS);
        uv_run(&loop, UV_RUN_NOWAIT);
    }
}

static void a_late_loop_may_go_on(void **state)
{
    (void)state;
    assert_int_equal(status_of(be_late_and_go_on), EXIT_ALIVE);
}

static void run_longer_than_the_limit(void)
{
    uv_timer_t end;

    watchdog_start(&watchdog, &loop, 2000);
    uv_timer_init(&loop, &end);
    uv_timer_start(&end, on_end, 3000, 0);
    uv_run(&loop, UV_RUN_DEFAULT);
}

static void a_loop_that_runs_goes_on(void **state)
{
    (void)state;
    assert_int_equal(status_of(run_longer_than_the_limit), EXIT_ALIVE);
}

static void one_that_was_stopped_is_silent(void **state)
{
    uv_loop_t own;
    struct itimerval alarm;

    (void)state;
    uv_loop_init(&own);
    watchdog_start(&watchdog, &own, WATCHDOG_MS);
    watchdog_stop(&watchdog);
    uv_run(&own, UV_RUN_DEFAULT); /* ends: nothing is left */
    assert_int_equal(uv_loop_close(&own), 0);
    assert_int_equal(getitimer(ITIMER_REAL, &alarm), 0);
    assert_false(timerisset(&alarm.it_value) || timerisset(&alarm.it_interval));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loop_that_stands_still_is_ended),
        cmocka_unit_test(a_late_loop_may_go_on),
        cmocka_unit_test(a_loop_that_runs_goes_on),
        cmocka_unit_test(one_that_was_stopped_is_silent),
    };

    return cmocka_run_group_tests_name("proc/watchdog", tests, NULL, NULL);
}
