// SPDX-License-Identifier: Apache-2.0

/* How a process finds its arbiter, and what it may do until it does. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "shim/test-fakewire.h"
#include "shim/uplink.h"

enum { AGAIN_MS = 100 };

static struct fakewire *arbiter;
static struct uplink uplink;

static int setup(void **state)
{
    (void)state;
    arbiter = fakewire_new(100);
    memset(&uplink, 0, sizeof(uplink));
    uplink_start_over(&uplink);
    return 0;
}

static struct slot *connected(void)
{
    struct slot *slot;

    assert_true(uplink_is_on(&uplink));
    assert_int_equal(uplink.state, UPLINK_UP);
    slot = uplink_find(&uplink, fakewire_uuid);
    assert_non_null(slot);
    return slot;
}

/* Reserves as a program's allocation does. */
static void allocate(struct slot *slot, uint64_t bytes)
{
    uint64_t granted;

    assert_int_equal(uplink_ask(&uplink, slot, LIMITS_RESERVE, bytes, bytes, &granted), 0);
    slot->allocated_bytes += bytes;
}

static void test_without_a_grant_nothing_is_limited(void **state)
{
    (void)state;
    arbiter->has_no_grant = true;
    assert_false(uplink_is_on(&uplink));
    arbiter->has_no_grant = false;
    assert_false(uplink_is_on(&uplink));
    assert_int_equal(arbiter->n_connected, 0);
}

static void test_without_an_arbiter_the_grant_tells_the_limit(void **state)
{
    static const uint8_t other[LIMITS_UUID_SIZE] = "another";
    struct slot *slot;

    (void)state;
    arbiter->is_gone = true;
    assert_true(uplink_is_on(&uplink));
    assert_int_equal(uplink.state, UPLINK_AWAY);
    slot = uplink_find(&uplink, fakewire_uuid);
    assert_non_null(slot);
    assert_int_equal(uplink_free(&uplink, slot), 100);
    assert_null(uplink_find(&uplink, other));
    assert_ptr_equal(uplink_find(&uplink, fakewire_uuid), slot);
}

static void test_who_is_refused_goes_on_alone(void **state)
{
    (void)state;
    arbiter->is_refusing = true;
    assert_true(uplink_is_on(&uplink));
    assert_int_equal(uplink.state, UPLINK_AWAY);
    assert_int_equal(arbiter->n_closed, arbiter->n_connected);
}

static void test_the_page_tells_what_is_free(void **state)
{
    struct slot *slot = connected();

    (void)state;
    allocate(slot, 30);
    assert_int_equal(uplink_free(&uplink, slot), 70);
    arbiter->page.mode = LIMITS_OBSERVE;
    assert_true(uplink_free(&uplink, slot) == UINT64_MAX);
    arbiter->page.mode = 99; /* of a later release */
    assert_int_equal(uplink_free(&uplink, slot), 70);
}

static void test_processes_have_equal_parts_while_it_is_away(void **state)
{
    struct slot *slot = connected();
    uint64_t granted;

    (void)state;
    allocate(slot, 40);
    arbiter->page.devices[0].n_processes = 3;
    arbiter->is_slow = true;
    assert_true(uplink_ask(&uplink, slot, LIMITS_RESERVE, 1, 1, &granted) < 0);
    assert_int_equal(uplink.state, UPLINK_AWAY);
    assert_int_equal(uplink_free(&uplink, slot), 20);
    assert_int_equal(arbiter->n_closed, 1);
}

static void test_a_new_arbiter_is_looked_for_now_and_then_and_told_all(void **state)
{
    struct slot *slot = connected();

    (void)state;
    allocate(slot, 40);
    uplink_look(&uplink);
    assert_int_equal(uplink.state, UPLINK_UP);
    fakewire_replace();
    arbiter->is_gone = true;
    uplink_look(&uplink);
    assert_true(uplink_is_on(&uplink));
    assert_int_equal(uplink.state, UPLINK_AWAY);
    arbiter->is_gone = false;
    uplink.tried_ms = arbiter->now_ms;
    arbiter->now_ms += AGAIN_MS - 1;
    uplink_try_again(&uplink);
    assert_int_equal(arbiter->n_connected, 1);
    arbiter->now_ms++;
    uplink_try_again(&uplink);
    assert_int_equal(uplink.state, UPLINK_UP);
    assert_int_equal(arbiter->page.devices[0].charged_bytes, 40);
    assert_true(uplink_is_alone(&uplink));
    uplink_await_page(&uplink, slot);
    assert_false(uplink_is_alone(&uplink));
    assert_int_equal(uplink_free(&uplink, slot), 60);
}

/* Each welcomes, shows an empty page, and goes. */
static void test_slow_arbiters_give_no_memory_again(void **state)
{
    struct slot *slot = connected();
    uint64_t granted;

    (void)state;
    allocate(slot, 80);
    arbiter->is_slow = true;
    assert_true(uplink_ask(&uplink, slot, LIMITS_RESERVE, 1, 1, &granted) < 0);
    assert_int_equal(uplink_free(&uplink, slot), 20);
    for (unsigned i = 0; i < 5; i++) {
        fakewire_replace();
        arbiter->now_ms += AGAIN_MS;
        assert_true(uplink_is_on(&uplink));
        assert_int_equal(uplink.state, UPLINK_UP);
        assert_true(uplink_ask(&uplink, slot, LIMITS_RESERVE, 1, 1, &granted) < 0);
        assert_int_equal(uplink_free(&uplink, slot), 20);
    }
}

static void test_an_arbiter_that_does_not_know_the_device_limits_nothing_there(void **state)
{
    struct slot *slot = connected();

    (void)state;
    allocate(slot, 40);
    fakewire_replace();
    arbiter->page.n_devices = 0;
    uplink_look(&uplink);
    arbiter->now_ms += AGAIN_MS;
    assert_true(uplink_is_on(&uplink));
    assert_null(uplink_device(&uplink, slot));
    assert_true(uplink_free(&uplink, slot) == UINT64_MAX);
    assert_int_equal(arbiter->n_heard[LIMITS_CHARGE], 0);
}

static void test_what_there_is_no_room_for_goes_along_with_the_next(void **state)
{
    struct slot *slot = connected();

    (void)state;
    allocate(slot, 50);
    arbiter->is_deaf = true;
    uplink_release(&uplink, slot, 20);
    assert_int_equal(uplink.state, UPLINK_UP);
    assert_int_equal(arbiter->page.devices[0].charged_bytes, 50);
    arbiter->is_deaf = false;
    uplink_release(&uplink, slot, 5);
    assert_int_equal(arbiter->page.devices[0].charged_bytes, 25);
}

static void test_claims_are_asked_for_again_when_the_page_changed(void **state)
{
    (void)state;
    connected();
    uplink_claim(&uplink);
    uplink_claim(&uplink);
    assert_null(uplink.claims);
    assert_int_equal(arbiter->n_heard[LIMITS_CLAIMS], 1);
    arbiter->page.devices[0].compute = LIMITS_COMPUTE_ELASTIC;
    arbiter->has_claims = true;
    assert_true(uplink_may_claim(&uplink));
    uplink_claim(&uplink);
    assert_non_null(uplink.claims);
    assert_int_equal(arbiter->n_heard[LIMITS_CLAIMS], 2);
}

static void test_claims_that_are_never_answered_are_given_up(void **state)
{
    (void)state;
    connected();
    arbiter->is_slow = true;
    for (unsigned i = 0; i < 3; i++) {
        uplink_claim(&uplink);
        assert_int_equal(uplink.state, UPLINK_AWAY);
        arbiter->now_ms += AGAIN_MS;
        assert_true(uplink_is_on(&uplink));
    }
    uplink_claim(&uplink);
    assert_int_equal(uplink.state, UPLINK_UP);
    assert_int_equal(arbiter->n_heard[LIMITS_CLAIMS], 3);
}

static void test_a_forked_child_starts_from_nothing(void **state)
{
    (void)state;
    allocate(connected(), 40);
    uplink_start_over(&uplink);
    assert_int_equal(arbiter->n_closed, 1);
    assert_int_equal(connected()->allocated_bytes, 0);
    assert_int_equal(arbiter->n_connected, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_without_a_grant_nothing_is_limited, setup),
        cmocka_unit_test_setup(test_without_an_arbiter_the_grant_tells_the_limit, setup),
        cmocka_unit_test_setup(test_who_is_refused_goes_on_alone, setup),
        cmocka_unit_test_setup(test_the_page_tells_what_is_free, setup),
        cmocka_unit_test_setup(test_processes_have_equal_parts_while_it_is_away, setup),
        cmocka_unit_test_setup(test_a_new_arbiter_is_looked_for_now_and_then_and_told_all, setup),
        cmocka_unit_test_setup(test_slow_arbiters_give_no_memory_again, setup),
        cmocka_unit_test_setup(test_an_arbiter_that_does_not_know_the_device_limits_nothing_there,
                               setup),
        cmocka_unit_test_setup(test_what_there_is_no_room_for_goes_along_with_the_next, setup),
        cmocka_unit_test_setup(test_claims_are_asked_for_again_when_the_page_changed, setup),
        cmocka_unit_test_setup(test_claims_that_are_never_answered_are_given_up, setup),
        cmocka_unit_test_setup(test_a_forked_child_starts_from_nothing, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
