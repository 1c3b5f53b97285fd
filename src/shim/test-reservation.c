// SPDX-License-Identifier: Apache-2.0

/* What a program gets of its slice's memory, by the arbiter's answers and without them. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "shim/reservation.h"
#include "shim/test-fakewire.h"

#define MIB      (UINT64_C(1) << 20)
#define LIMIT    (100 * MIB)
#define AGAIN_MS 100
#define N_SMALL  40

static struct fakewire *arbiter;
static struct uplink uplink;
static struct slot *slot;

static int setup(void **state)
{
    (void)state;
    arbiter = fakewire_new(LIMIT);
    memset(&uplink, 0, sizeof(uplink));
    uplink_start_over(&uplink);
    assert_true(uplink_is_on(&uplink));
    slot = uplink_find(&uplink, fakewire_uuid);
    assert_non_null(slot);
    return 0;
}

static bool take(uint64_t bytes)
{
    return uplink_is_on(&uplink) && reservation_take(&uplink, slot, bytes);
}

static void give(uint64_t bytes)
{
    assert_true(uplink_is_on(&uplink));
    reservation_give(&uplink, slot, bytes);
}

static uint64_t charged(void)
{
    return arbiter->page.devices[0].charged_bytes;
}

static unsigned n_messages(void)
{
    unsigned n = 0;

    for (size_t i = 0; i < sizeof(arbiter->n_heard) / sizeof(arbiter->n_heard[0]); i++)
        n += arbiter->n_heard[i];
    return n;
}

static void test_the_limit_holds_to_the_byte(void **state)
{
    (void)state;
    assert_true(take(LIMIT - 1));
    assert_false(take(2));
    assert_true(take(1));
    assert_false(take(1));
    assert_int_equal(slot->allocated_bytes, LIMIT);
    give(LIMIT - 1);
    assert_true(take(50 * MIB));
}

static void test_small_amounts_need_few_messages(void **state)
{
    (void)state;
    for (unsigned i = 0; i < N_SMALL; i++)
        assert_true(take(MIB / 4));
    for (unsigned i = 0; i < N_SMALL; i++)
        give(MIB / 4);
    assert_int_equal(n_messages(), 1);
    assert_int_equal(slot->allocated_bytes, 0);
}

/* What is freed in small pieces is for the container's other processes as well. */
static void test_a_credit_stays_small(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 90; i++)
        assert_true(take(MIB));
    for (unsigned i = 0; i < 90; i++)
        give(MIB);
    assert_true(charged() <= 32 * MIB);
}

/* All but the credit is used by others. */
static void test_a_credit_is_given_up_for_what_is_asked_for(void **state)
{
    (void)state;
    assert_true(take(MIB));
    assert_int_equal(charged(), 17 * MIB);
    arbiter->page.devices[0].charged_bytes = LIMIT;
    assert_false(take(17 * MIB));
    assert_true(take(16 * MIB));
    assert_int_equal(charged(), LIMIT);
}

static void test_what_the_driver_has_taken_counts(void **state)
{
    (void)state;
    reservation_charge(&uplink, slot, 2 * LIMIT);
    assert_int_equal(charged(), 2 * LIMIT);
    assert_false(take(1));
    give(2 * LIMIT);
    assert_true(take(LIMIT));
}

static void test_without_an_arbiter_what_was_free_may_be_taken(void **state)
{
    (void)state;
    assert_true(take(60 * MIB));
    arbiter->is_connected = false;
    arbiter->is_gone = true;
    assert_true(take(30 * MIB));
    assert_int_equal(uplink.state, UPLINK_AWAY);
    assert_false(take(11 * MIB));
    assert_true(take(10 * MIB));
    give(5 * MIB);
    assert_true(take(5 * MIB));
    assert_false(take(1));
    assert_int_equal(slot->allocated_bytes, LIMIT);
}

static void test_a_mode_without_limits_has_none_without_an_arbiter(void **state)
{
    (void)state;
    arbiter->page.mode = LIMITS_OBSERVE;
    arbiter->is_connected = false;
    arbiter->is_gone = true;
    assert_true(take(3 * LIMIT));
}

/* The next one is there at once, and asked. */
static void test_an_arbiter_that_was_replaced_is_asked_in_the_same_call(void **state)
{
    (void)state;
    assert_true(take(60 * MIB));
    fakewire_replace();
    assert_false(take(41 * MIB));
    assert_int_equal(uplink.state, UPLINK_UP);
    assert_int_equal(charged(), 60 * MIB);
    assert_true(take(40 * MIB));
}

/* Each welcomes, and answers nothing; small amounts would come out of a credit. */
static void test_slow_arbiters_give_the_limit_once(void **state)
{
    uint64_t taken = 60 * MIB;

    (void)state;
    assert_true(take(taken));
    arbiter->is_slow = true;
    for (unsigned i = 0; i < 100; i++) {
        taken += take(MIB) ? MIB : 0;
        arbiter->now_ms += AGAIN_MS;
        if (i % 2)
            fakewire_replace();
    }
    assert_int_equal(taken, LIMIT);
    assert_int_equal(slot->allocated_bytes, LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_the_limit_holds_to_the_byte, setup),
        cmocka_unit_test_setup(test_small_amounts_need_few_messages, setup),
        cmocka_unit_test_setup(test_a_credit_stays_small, setup),
        cmocka_unit_test_setup(test_a_credit_is_given_up_for_what_is_asked_for, setup),
        cmocka_unit_test_setup(test_what_the_driver_has_taken_counts, setup),
        cmocka_unit_test_setup(test_without_an_arbiter_what_was_free_may_be_taken, setup),
        cmocka_unit_test_setup(test_a_mode_without_limits_has_none_without_an_arbiter, setup),
        cmocka_unit_test_setup(test_an_arbiter_that_was_replaced_is_asked_in_the_same_call, setup),
        cmocka_unit_test_setup(test_slow_arbiters_give_the_limit_once, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
