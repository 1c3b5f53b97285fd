// SPDX-License-Identifier: Apache-2.0
#include "kube/backoff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { ROUNDS = 200 };

static void test_waits_double_up_to_the_last(void **state)
{
    static const unsigned most_ms[] = {500, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000};

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        struct backoff backoff = {0};

        for (size_t i = 0; i < sizeof(most_ms) / sizeof(most_ms[0]); i++)
            assert_in_range(backoff_next_ms(&backoff, 0), 1, most_ms[i]);
    }
}

static void test_waits_are_spread_over_the_whole_range(void **state)
{
    unsigned n_low = 0, n_high = 0;

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        struct backoff backoff = {.first_ms = 10000, .last_ms = 10000};
        unsigned wait_ms = backoff_next_ms(&backoff, 0);

        n_low += wait_ms <= 5000;
        n_high += wait_ms > 5000;
    }
    /* A fair coin falls on one side in more than 160 of 200 throws once in 10^17 tries. */
    assert_in_range(n_low, 40, 160);
    assert_in_range(n_high, 40, 160);
}

static void test_a_success_resets_it(void **state)
{
    struct backoff backoff = {.first_ms = 10, .last_ms = 80};

    (void)state;
    for (int i = 0; i < 10; i++)
        assert_in_range(backoff_next_ms(&backoff, 0), 1, 80);
    backoff_reset(&backoff);
    assert_in_range(backoff_next_ms(&backoff, 0), 1, 10);
}

static void test_what_the_server_asks_is_the_least(void **state)
{
    struct backoff backoff = {.first_ms = 10, .last_ms = 80};

    (void)state;
    for (int i = 0; i < ROUNDS; i++)
        assert_in_range(backoff_next_ms(&backoff, 7), 7001, 7080);
    assert_in_range(backoff_next_ms(&backoff, UINT32_MAX), 600001, 600080);
}

static void test_large_bounds_do_not_overflow(void **state)
{
    struct backoff backoff = {.first_ms = 3000000000u, .last_ms = 3500000000u};

    (void)state;
    for (int i = 0; i < 10; i++)
        assert_in_range(backoff_next_ms(&backoff, 0), 1, 3500000000u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waits_double_up_to_the_last),
        cmocka_unit_test(test_waits_are_spread_over_the_whole_range),
        cmocka_unit_test(test_a_success_resets_it),
        cmocka_unit_test(test_what_the_server_asks_is_the_least),
        cmocka_unit_test(test_large_bounds_do_not_overflow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
