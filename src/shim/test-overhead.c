// SPDX-License-Identifier: Apache-2.0

/* What the driver takes by itself, and how it is found out. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "shim/overhead.h"
#include "shim/reservation.h"
#include "shim/test-fakewire.h"

#define MIB    (UINT64_C(1) << 20)
#define LIMIT  (100 * MIB)
#define BEFORE (5 * MIB) /* overhead of others */

static struct fakewire *arbiter;
static struct limits_device *device;
static struct uplink uplink;
static struct overhead overhead;
static struct slot *slot;
static struct overhead_pending pending;

static int setup(void **state)
{
    (void)state;
    arbiter = fakewire_new(LIMIT);
    device = &arbiter->page.devices[0];
    device->returned_bytes = 1;
    memset(&uplink, 0, sizeof(uplink));
    uplink_start_over(&uplink);
    overhead = (struct overhead){.uplink = &uplink};
    assert_true(uplink_is_on(&uplink));
    slot = uplink_find(&uplink, fakewire_uuid);
    assert_non_null(slot);
    return 0;
}

static void lose_the_arbiter(void)
{
    arbiter->is_connected = false;
    arbiter->is_gone = true;
    uplink_look(&uplink);
    assert_int_equal(uplink.state, UPLINK_AWAY);
}

/* Of the driver, which shows so much for all processes, of which this is no allocation. */
static void read_driver(uint64_t charged_bytes, uint64_t overhead_bytes)
{
    arbiter->page.n_reading++;
    device->charged_bytes = charged_bytes;
    device->overhead_bytes = overhead_bytes;
}

static void test_a_module_that_fits_is_charged_at_once(void **state)
{
    (void)state;
    assert_true(overhead_grew(&overhead, slot, 10 * MIB, 0, &pending));
    assert_int_equal(pending.reading, 0);
    assert_int_equal(device->charged_bytes, 10 * MIB);
    overhead_shrank(&overhead, slot, 10 * MIB);
    assert_int_equal(device->charged_bytes, 0);
}

static void test_the_credit_is_given_up_for_a_module(void **state)
{
    (void)state;
    assert_true(reservation_take(&uplink, slot, MIB));
    device->charged_bytes = LIMIT;
    assert_true(overhead_grew(&overhead, slot, 16 * MIB, 0, &pending));
    assert_int_equal(device->charged_bytes, LIMIT);
}

/* The guess was 30 MiB. */
static const struct {
    uint64_t charged_bytes, overhead_bytes;
    bool is_over;
    uint64_t shown_bytes;
} readings[] = {
    {LIMIT, 20 * MIB, false, 20 * MIB},
    {LIMIT + 2 * MIB, 22 * MIB, false, 22 * MIB}, /* a granule */
    {LIMIT + 2 * MIB + 1, 25 * MIB, true, 25 * MIB},
    {LIMIT + 40 * MIB, 60 * MIB, true, 30 * MIB}, /* of others, too */
    {LIMIT, 0, false, 0},
};

static void test_a_reading_tells_what_is_true(void **state)
{
    for (size_t i = 0; i < sizeof(readings) / sizeof(readings[0]); i++) {
        uint64_t bytes = 30 * MIB;
        bool is_over;

        setup(state);
        device->overhead_bytes = BEFORE;
        assert_true(reservation_take(&uplink, slot, 80 * MIB));
        assert_false(overhead_grew(&overhead, slot, bytes, 0, &pending));
        assert_int_equal(pending.reading, 1);
        assert_false(overhead_is_read(&overhead, slot, &pending, &is_over));
        read_driver(readings[i].charged_bytes, BEFORE + readings[i].overhead_bytes);
        assert_true(overhead_is_read(&overhead, slot, &pending, &is_over));
        assert_int_equal(is_over, readings[i].is_over);
        overhead_learn(&overhead, slot, &pending, 1, &bytes);
        assert_int_equal(bytes, readings[i].shown_bytes);
    }
}

static void test_nobody_waits_for_an_arbiter_that_went(void **state)
{
    bool is_over;

    (void)state;
    assert_true(reservation_take(&uplink, slot, 80 * MIB));
    assert_false(overhead_grew(&overhead, slot, 30 * MIB, 0, &pending));
    lose_the_arbiter();
    assert_true(overhead_is_read(&overhead, slot, &pending, &is_over));
}

static void test_an_arbiter_of_an_earlier_release_is_not_asked(void **state)
{
    (void)state;
    uplink.wire.revision = 1;
    assert_true(overhead_grew(&overhead, slot, 2 * LIMIT, LIMIT, &pending));
    overhead_shrank(&overhead, slot, 2 * LIMIT);
    assert_int_equal(overhead_returned(&overhead, slot), 0);
    assert_int_equal(arbiter->n_heard[LIMITS_GREW] + arbiter->n_heard[LIMITS_SHRANK], 0);
}

/* --- what is hidden --- */

static void test_what_is_hidden_matters_near_the_limit_alone(void **state)
{
    (void)state;
    assert_true(overhead_grew(&overhead, slot, 10 * MIB, 20 * MIB, &pending));
    assert_int_equal(device->charged_bytes, 10 * MIB);
    overhead_ask_hidden(&overhead, slot, 70 * MIB, &pending);
    assert_int_equal(pending.reading, 0);
    assert_int_equal(arbiter->n_heard[LIMITS_GREW], 1);
    overhead_ask_hidden(&overhead, slot, 71 * MIB, &pending);
    assert_int_equal(pending.reading, 1);
    assert_int_equal(pending.bytes, 20 * MIB);
    assert_int_equal(device->charged_bytes, 10 * MIB);
}

static void test_nothing_is_hidden_after_readings(void **state)
{
    uint64_t nothing = 0;

    (void)state;
    assert_true(overhead_grew(&overhead, slot, MIB, 20 * MIB, &pending));
    overhead_ask_hidden(&overhead, slot, 90 * MIB, &pending);
    assert_int_equal(pending.bytes, 20 * MIB);
    overhead_learn(&overhead, slot, &pending, 10, &nothing);
    overhead_ask_hidden(&overhead, slot, 90 * MIB, &pending);
    assert_int_equal(pending.bytes, 0);

    assert_true(overhead_grew(&overhead, slot, MIB, 20 * MIB, &pending));
    read_driver(2 * MIB, 2 * MIB); /* it may have begun before */
    overhead_ask_hidden(&overhead, slot, 90 * MIB, &pending);
    assert_int_equal(pending.bytes, 20 * MIB);
    read_driver(2 * MIB, 2 * MIB);
    overhead_ask_hidden(&overhead, slot, 90 * MIB, &pending);
    assert_int_equal(pending.bytes, 0);
}

/* A second at once, and a tenth of the time. */
static void test_suspicion_has_a_bound(void **state)
{
    uint64_t nothing = 0;
    unsigned n_waits = 0;

    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        assert_true(overhead_grew(&overhead, slot, 0, 200 * MIB, &pending) || pending.reading > 0);
        overhead_ask_hidden(&overhead, slot, MIB, &pending);
        if (pending.reading == 0)
            continue;
        n_waits++;
        arbiter->now_ms += 100;
        overhead_learn(&overhead, slot, &pending, 100, &nothing);
    }
    assert_in_range(n_waits, 10, 13);
    arbiter->now_ms += 10000;
    overhead_ask_hidden(&overhead, slot, MIB, &pending);
    assert_true(pending.reading > 0);
}

static void test_an_arbiter_that_does_not_hear_of_it_is_not_asked(void **state)
{
    (void)state;
    device->returned_bytes = 0;
    assert_true(overhead_grew(&overhead, slot, 10 * MIB, 200 * MIB, &pending));
    overhead_ask_hidden(&overhead, slot, 80 * MIB, &pending);
    assert_int_equal(pending.reading, 0);
    assert_int_equal(arbiter->n_heard[LIMITS_GREW], 1);
}

/* --- without an arbiter --- */

static void test_a_module_beyond_the_allowance_is_owed(void **state)
{
    (void)state;
    assert_true(reservation_take(&uplink, slot, 80 * MIB));
    lose_the_arbiter();
    assert_true(overhead_grew(&overhead, slot, 10 * MIB, 0, &pending));
    assert_false(overhead_grew(&overhead, slot, 15 * MIB, 0, &pending));
    assert_int_equal(pending.reading, 0);
    overhead_shrank(&overhead, slot, 5 * MIB);
    assert_int_equal(uplink_free(&uplink, slot), 0);
    overhead_shrank(&overhead, slot, 10 * MIB);
    assert_int_equal(uplink_free(&uplink, slot), 10 * MIB);
}

static void test_contexts_are_reserved_ahead(void **state)
{
    (void)state;
    assert_true(overhead_enter(&overhead, slot));
    overhead_entered(&overhead, slot);
    assert_int_equal(arbiter->last.kind, LIMITS_ENTERED);
    overhead_left(&overhead, slot);
    assert_int_equal(arbiter->last.kind, LIMITS_LEFT);
    device->charged_bytes = LIMIT - 1;
    assert_false(overhead_enter(&overhead, slot));
}

static void test_contexts_come_out_of_the_allowance(void **state)
{
    (void)state;
    device->context_bytes_mib = 60;
    lose_the_arbiter();
    assert_true(overhead_enter(&overhead, slot));
    assert_int_equal(uplink_free(&uplink, slot), 40 * MIB);
    assert_false(overhead_enter(&overhead, slot));
    overhead_left(&overhead, slot);
    assert_int_equal(uplink_free(&uplink, slot), LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_a_module_that_fits_is_charged_at_once, setup),
        cmocka_unit_test_setup(test_the_credit_is_given_up_for_a_module, setup),
        cmocka_unit_test_setup(test_a_reading_tells_what_is_true, setup),
        cmocka_unit_test_setup(test_nobody_waits_for_an_arbiter_that_went, setup),
        cmocka_unit_test_setup(test_an_arbiter_of_an_earlier_release_is_not_asked, setup),
        cmocka_unit_test_setup(test_what_is_hidden_matters_near_the_limit_alone, setup),
        cmocka_unit_test_setup(test_nothing_is_hidden_after_readings, setup),
        cmocka_unit_test_setup(test_suspicion_has_a_bound, setup),
        cmocka_unit_test_setup(test_an_arbiter_that_does_not_hear_of_it_is_not_asked, setup),
        cmocka_unit_test_setup(test_a_module_beyond_the_allowance_is_owed, setup),
        cmocka_unit_test_setup(test_contexts_are_reserved_ahead, setup),
        cmocka_unit_test_setup(test_contexts_come_out_of_the_allowance, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
