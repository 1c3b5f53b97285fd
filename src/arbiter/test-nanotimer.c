// SPDX-License-Identifier: Apache-2.0

/* It fires once and never early, and keeps no loop busy. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "arbiter/nanotimer.h"
#include "base/clock.h"

enum { PATIENCE_S = 30, STEP_NS = 250000 };

static uv_loop_t loop;
static struct nanotimer *timer;
static unsigned n_fired;
static uint64_t fired_ns;

static void on_time(void *userdata)
{
    (void)userdata;
    n_fired++;
    fired_ns = clock_now_ns();
}

static int set_up(void **state)
{
    struct error err = ERROR_INIT;

    (void)state;
    n_fired = 0;
    if (uv_loop_init(&loop) < 0)
        return -1;
    return nanotimer_new(&loop, on_time, NULL, &timer, &err);
}

static int tear_down(void **state)
{
    (void)state;
    nanotimer_free(timer);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop);
}

static void await_fired(unsigned n)
{
    alarm(PATIENCE_S);
    while (n_fired < n)
        uv_run(&loop, UV_RUN_ONCE);
    alarm(0);
}

static void test_it_fires_once_and_not_early(void **state)
{
    (void)state;
    for (unsigned i = 1; i <= 5; i++) {
        const uint64_t at_ns = clock_now_ns() + STEP_NS;

        nanotimer_set(timer, at_ns);
        await_fired(i);
        assert_true(fired_ns >= at_ns);
        uv_run(&loop, UV_RUN_NOWAIT);
        assert_int_equal(n_fired, i);
    }
}

static void test_a_time_that_is_over_is_now(void **state)
{
    (void)state;
    nanotimer_set(timer, 0);
    await_fired(1);
    nanotimer_set(timer, 1);
    await_fired(2);
}

/* Put off, and called off: a later one shows that the earlier one would have come. */
static void test_the_last_time_counts(void **state)
{
    struct nanotimer *later = NULL;
    struct error err = ERROR_INIT;

    (void)state;
    assert_int_equal(nanotimer_new(&loop, on_time, NULL, &later, &err), 0);
    nanotimer_set(timer, clock_now_ns() + STEP_NS);
    nanotimer_set(timer, NANOTIMER_NEVER);
    nanotimer_set(later, clock_now_ns() + 8 * (uint64_t)STEP_NS);
    await_fired(1);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(n_fired, 1);
    nanotimer_free(later);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_it_fires_once_and_not_early),
        TEST(test_a_time_that_is_over_is_now),
        TEST(test_the_last_time_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
