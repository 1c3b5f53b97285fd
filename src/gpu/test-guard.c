// SPDX-License-Identifier: Apache-2.0
#include "gpu/guard.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cmocka.h>

static int make_timer(void)
{
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

static bool fires_within(int fd, int ms)
{
    return poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, ms) == 1;
}

static void fires_for_a_call_that_overruns(void **state)
{
    char call[GUARD_CALL_SIZE], uuid[GUARD_UUID_SIZE];
    struct guard_page page = {.slots[0].turn = 0};
    struct guard guard;
    int fd = make_timer();

    guard_init(&guard, &page.slots[GUARD_EVENTS], fd, 20);
    guard_thread(&guard);
    guard_enter("nvmlDeviceGetName", "GPU-1", 0);
    assert_true(fires_within(fd, 5000));
    assert_true(guard_overrun(guard.slot, call, uuid));
    assert_string_equal(call, "nvmlDeviceGetName");
    assert_string_equal(uuid, "GPU-1");
    /* Back at the last moment: no harm. */
    guard_leave();
    assert_false(guard_overrun(guard.slot, call, uuid));
    assert_false(fires_within(fd, 0));
    guard_thread(NULL);
    close(fd);
}

static void is_silent_for_a_call_that_returns(void **state)
{
    struct guard_page page = {.slots[0].turn = 0};
    struct itimerspec left;
    struct guard guard;
    int fd = make_timer();

    guard_init(&guard, &page.slots[GUARD_CALLS], fd, 20);
    guard_thread(&guard);
    guard_enter("nvmlDeviceGetName", "", 0);
    guard_leave();
    assert_false(fires_within(fd, 60));
    /* Time that the call asked for, and time to start a GPU, come on top. */
    guard_enter("nvmlEventSetWait", "", 100000);
    timerfd_gettime(fd, &left);
    assert_true(left.it_value.tv_sec >= 99);
    guard_leave();
    guard_enter("nvmlInit", "", GUARD_SLOW);
    timerfd_gettime(fd, &left);
    assert_true(left.it_value.tv_nsec > 40000000 && left.it_value.tv_nsec <= 60000000);
    /* A new process takes over in the middle. */
    guard_init(&guard, &page.slots[GUARD_CALLS], fd, 20);
    assert_false(fires_within(fd, 60));
    guard_thread(NULL);
    close(fd);
}

static void no_guard_no_cost(void **state)
{
    guard_thread(NULL);
    guard_enter("nvmlInit", "", 0);
    guard_leave();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fires_for_a_call_that_overruns),
        cmocka_unit_test(is_silent_for_a_call_that_returns),
        cmocka_unit_test(no_guard_no_cost),
    };

    return cmocka_run_group_tests_name("guard", tests, NULL, NULL);
}
