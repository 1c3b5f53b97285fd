// SPDX-License-Identifier: Apache-2.0

/* What a process may take while the arbiter is away. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shim/slot.h"

static void test_what_was_free_may_be_taken(void **state)
{
    struct slot slot = {.limit_bytes = 100, .allocated_bytes = 60, .credit_bytes = 10};

    (void)state;
    slot_detach(&slot, 30, true);
    assert_int_equal(slot.allowance_bytes, 40); /* its credit was charged to it */
    assert_int_equal(slot.credit_bytes, 0);
    slot_spend(&slot, 15);
    assert_int_equal(slot.allowance_bytes, 25);
    slot_earn(&slot, 5);
    assert_int_equal(slot.allowance_bytes, 30);
}

static void test_what_the_driver_took_beyond_it_is_paid_back_first(void **state)
{
    struct slot slot = {.limit_bytes = 100};

    (void)state;
    slot_detach(&slot, 10, true);
    slot_spend(&slot, 25);
    assert_int_equal(slot.allowance_bytes, 0);
    slot_earn(&slot, 10);
    assert_int_equal(slot.allowance_bytes, 0);
    slot_earn(&slot, 10);
    assert_int_equal(slot.allowance_bytes, 5);
}

/* It welcomes, and goes before it has counted anything, ten times. */
static void test_a_slow_arbiter_gives_no_memory_again(void **state)
{
    struct slot slot = {.limit_bytes = 100, .allocated_bytes = 80};

    (void)state;
    slot_detach(&slot, 20, true);
    slot_spend(&slot, 15);
    for (unsigned i = 0; i < 10; i++) {
        slot_attach(&slot, 0, 100);
        slot_detach(&slot, 100, false);
        assert_int_equal(slot.allowance_bytes, 5);
    }
    slot_attach(&slot, 0, 100);
    slot_detach(&slot, 3, false); /* others took it meanwhile */
    assert_int_equal(slot.allowance_bytes, 3);
    slot_attach(&slot, 0, 100);
    slot_detach(&slot, 50, true); /* that one had counted all */
    assert_int_equal(slot.allowance_bytes, 50);
}

/* What was beyond the allowance stays owed to it as long as nobody has counted it. */
static void test_a_slow_arbiter_forgives_nothing(void **state)
{
    struct slot slot = {.limit_bytes = 100};

    (void)state;
    slot_detach(&slot, 10, true);
    slot_spend(&slot, 30);
    slot_attach(&slot, 0, 100);
    slot_detach(&slot, 100, false);
    slot_earn(&slot, 20);
    assert_int_equal(slot.allowance_bytes, 0);
    slot_attach(&slot, 0, 100);
    slot_detach(&slot, 7, true);
    slot_earn(&slot, 1);
    assert_int_equal(slot.allowance_bytes, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_free_may_be_taken),
        cmocka_unit_test(test_what_the_driver_took_beyond_it_is_paid_back_first),
        cmocka_unit_test(test_a_slow_arbiter_gives_no_memory_again),
        cmocka_unit_test(test_a_slow_arbiter_forgives_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
