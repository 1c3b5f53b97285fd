// SPDX-License-Identifier: Apache-2.0

/* The clock beside the kernel's. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "shim/quickclock.h"

#define MS 1000000L

static uint64_t kernel_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* It is what the kernel says, whenever it is asked: no more than a moment before or after. */
static void test_it_goes_with_the_kernel_s(void **state)
{
    const uint64_t end_ns = kernel_ns() + 50 * MS;
    uint64_t before_ns;

    do {
        uint64_t ns;

        before_ns = kernel_ns();
        ns = quickclock_ns();
        assert_true(ns + 10000 >= before_ns && ns <= kernel_ns() + 10000);
    } while (before_ns < end_ns);
}

static void test_it_goes_on_after_a_pause(void **state)
{
    const struct timespec pause = {.tv_nsec = 20 * MS};
    const uint64_t before_ns = quickclock_ns();

    nanosleep(&pause, NULL);
    assert_true(quickclock_ns() >= before_ns + 20 * MS - 10000);
}

static void test_differences(void **state)
{
    assert_int_equal(quickclock_since(5, 7), 2);
    assert_int_equal(quickclock_since(7, 5), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_goes_with_the_kernel_s),
        cmocka_unit_test(test_it_goes_on_after_a_pause),
        cmocka_unit_test(test_differences),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
