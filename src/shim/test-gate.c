// SPDX-License-Identifier: Apache-2.0

/* What a page says of the gate, at which time; and launches at it, on a driver that does nothing,
 * by a clock of the test's: how fast this machine is changes nothing. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "shim/captures.h"
#include "shim/gate.h"
#include "shim/quickclock.h"
#include "shim/test-fake-session.h"

#define MS UINT64_C(1000000)
#define US UINT64_C(1000)

/* --- the clock --- */

static uint64_t clock_ns, clock_step_ns; /* that passes with each look at it */

uint64_t quickclock_ns(void)
{
    return clock_ns += clock_step_ns;
}

uint64_t quickclock_since(uint64_t then_ns, uint64_t now_ns)
{
    return now_ns > then_ns ? now_ns - then_ns : 0;
}

uint64_t quickclock_span(uint64_t ns)
{
    return 0;
}

/* --- the process --- */

static struct claims_device claims;
static struct lane only;
static bool has_claims, is_capturing, has_capture;
static unsigned n_launched, n_fenced;
static bool is_stuck;
static uint64_t queue_left_ns, command_ns;

bool lanes_start(void)
{
    return has_claims;
}

bool lanes_are_on(void)
{
    return has_claims;
}

struct claims_device *lanes_claims(int position)
{
    return has_claims && position == 0 ? &claims : NULL;
}

struct lane *lanes_find(const struct cuda_functions *driver, CUstream stream, bool is_per_thread)
{
    return &only;
}

/* All launches are looked at. */
bool lanes_launched(const struct cuda_functions *driver, struct lane *lane, uint64_t now_ns)
{
    n_launched++;
    return false;
}

void lanes_given(struct lane *lane, uint32_t n, uint64_t now_ns)
{
}

uint64_t lanes_generation(void)
{
    return 1;
}

const uint64_t *lanes_generation_at(void)
{
    return NULL;
}

void lanes_fence(const struct cuda_functions *driver, struct lane *lane, uint64_t now_ns)
{
    n_fenced++;
}

/* The page changes while a thread waits: the arbiter has been there. */
void lanes_fence_all(const struct cuda_functions *driver, uint64_t now_ns)
{
    n_fenced++;
    limits_store(page.devices[0].gate, LIMITS_GATE_OPEN);
    limits_store(page.devices[0].gate_number, page.devices[0].gate_number + 1);
}

/* A command less each time. */
struct lane_work lanes_look(struct lane *lane, uint64_t now_ns)
{
    if (!is_stuck)
        queue_left_ns -= queue_left_ns < command_ns ? queue_left_ns : command_ns;
    return (struct lane_work){.ns = queue_left_ns, .command_ns = command_ns};
}

bool captures_are_there(void)
{
    return has_capture;
}

bool captures_is_none(const struct cuda_functions *driver, CUstream stream)
{
    return !is_capturing;
}

static const struct cuda_functions driver;

static int set_up(void **state)
{
    memset(&page, 0, sizeof(page));
    memset(&claims, 0, sizeof(claims));
    page.n_devices = 1;
    page.devices[0].compute = LIMITS_COMPUTE_ELASTIC;
    page.devices[0].share_ppm = 1;
    clock_ns = 5000 * MS;
    clock_step_ns = US;
    page.beat_ms = (uint32_t)(clock_ns / MS);
    has_claims = true;
    is_capturing = has_capture = is_stuck = false;
    n_launched = n_fenced = n_looks = 0;
    queue_left_ns = 0;
    command_ns = 100 * US;
    return 0;
}

static CUresult launch(void)
{
    const struct gate_launch at = gate_enter(&driver, NULL, false);

    return gate_leave(&driver, at, CUDA_SUCCESS);
}

/* --- what is judged --- */

static void test_gates(void **state)
{
    static const struct {
        uint32_t compute, gate;
        uint64_t end_ns;
        bool passes, is_bounded;
    } rows[] = {
        {LIMITS_COMPUTE_ELASTIC, LIMITS_GATE_OPEN, 0, true, false},
        {LIMITS_COMPUTE_ELASTIC, LIMITS_GATE_TURN, 0, true, true},
        {LIMITS_COMPUTE_ELASTIC, LIMITS_GATE_TURN, 2000 * MS, true, true},
        {LIMITS_COMPUTE_ELASTIC, LIMITS_GATE_TURN, 1000 * MS, false, true},
        {LIMITS_COMPUTE_STRICT, LIMITS_GATE_CLOSED, 2000 * MS, false, true},
        {LIMITS_COMPUTE_OBSERVE, LIMITS_GATE_CLOSED, 0, true, false},
        {LIMITS_COMPUTE_NONE, LIMITS_GATE_CLOSED, 0, true, false},
        {LIMITS_COMPUTE_ELASTIC, 3, 0, true, false},
        {99, LIMITS_GATE_CLOSED, 0, false, true},
    };

    page.beat_ms = 1000;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct gate_verdict verdict;

        page.devices[0].compute = rows[i].compute;
        page.devices[0].gate = rows[i].gate;
        page.devices[0].turn_end_ns = rows[i].end_ns;
        page.devices[0].in_flight_us = 512;
        verdict = gate_judge(&page, &page.devices[0], 1, 1000 * MS);
        assert_int_equal(verdict.passes, rows[i].passes);
        assert_int_equal(verdict.in_flight_us, rows[i].is_bounded ? 512 : 0);
        assert_false(verdict.is_away);
    }
}

static void test_a_beat_is_old(void **state)
{
    static const struct {
        uint32_t beat_ms;
        uint64_t at_ms;
        bool is_away;
    } rows[] = {
        {1000, 1000, false},         {1000, 1100, false},
        {1000, 1101, true},          {1100, 1000, false},
        {3000, 1000, true},          {UINT32_MAX - 10, (UINT64_C(1) << 32) + 20, false},
        {0, UINT32_MAX - 50, false}, {0, UINT64_C(1) << 31, true},
    };

    page.devices[0].gate = LIMITS_GATE_CLOSED;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        page.beat_ms = rows[i].beat_ms;
        assert_int_equal(gate_judge(&page, &page.devices[0], 1, rows[i].at_ms * MS).is_away,
                         rows[i].is_away);
    }
}

/* How much of a second a container passes while its arbiter is away. */
static unsigned passed_ms(uint32_t share_ppm, uint64_t number)
{
    unsigned n = 0;

    page.beat_ms = 0;
    page.devices[0].gate = LIMITS_GATE_CLOSED;
    page.devices[0].share_ppm = share_ppm;
    for (uint64_t at_ms = 5000; at_ms < 6000; at_ms++)
        n += gate_judge(&page, &page.devices[0], number, at_ms * MS).passes;
    return n;
}

static void test_a_share_of_the_time_without_an_arbiter(void **state)
{
    assert_int_equal(passed_ms(250000, 1), 250);
    assert_int_equal(passed_ms(250000, 12345), 250);
    assert_int_equal(passed_ms(1000000, 1), 1000);
    assert_int_equal(passed_ms(0, 1), 1000);
    assert_int_equal(passed_ms(UINT32_MAX, 1), 1000);
    assert_in_range(passed_ms(1, 1), 0, 10);
    assert_int_equal(gate_judge(&page, &page.devices[0], 1, 5000 * MS).in_flight_us, GATE_AWAY_US);
}

static void test_bins_of_waits(void **state)
{
    assert_int_equal(gate_bin(0), 0);
    assert_int_equal(gate_bin(64 * US - 1), 0);
    assert_int_equal(gate_bin(64 * US), 1);
    assert_int_equal(gate_bin(128 * US), 2);
    assert_int_equal(gate_bin((64 * US << 14) - 1), 14);
    assert_int_equal(gate_bin(64 * US << 14), 15);
    assert_int_equal(gate_bin(UINT64_MAX), 15);
}

/* --- launches --- */

static void test_nothing_is_counted_without_turns(void **state)
{
    page.devices[0].compute = LIMITS_COMPUTE_NONE;
    assert_int_equal(launch(), CUDA_SUCCESS);
    page.devices[0].compute = LIMITS_COMPUTE_ELASTIC;
    has_claims = false;
    assert_int_equal(launch(), CUDA_SUCCESS);
    assert_true(claims.n_launched == 0 && n_launched == 0);
}

/* Who only launches notices so that the arbiter was replaced: twice a second. */
static void test_the_connection_is_looked_at_without_turns(void **state)
{
    page.devices[0].compute = LIMITS_COMPUTE_NONE;
    clock_ns = 100000 * MS; /* nobody has looked for long */
    for (unsigned looks = 1; looks <= 3; looks++) {
        for (int i = 0; i < 100; i++)
            assert_null(gate_enter(&driver, NULL, false).lane);
        assert_int_equal(n_looks, looks);
        clock_ns += 500 * MS;
    }
    assert_int_equal(n_launched, 0);
}

static void test_a_launch_that_failed_is_not_counted(void **state)
{
    const struct gate_launch at = gate_enter(&driver, NULL, false);

    assert_int_equal(gate_leave(&driver, at, CUDA_ERROR_INVALID_VALUE), CUDA_ERROR_INVALID_VALUE);
    assert_true(claims.n_launched == 0 && n_launched == 0);
    assert_int_equal(launch(), CUDA_SUCCESS);
    assert_true(claims.n_launched == 1 && n_launched == 1);
}

static void test_a_launch_waits_and_is_counted(void **state)
{
    page.devices[0].gate = LIMITS_GATE_CLOSED;
    launch();
    assert_int_equal(n_fenced, 1);
    assert_true(claims.n_launched == 1 && claims.n_waiting == 0 && claims.n_late == 0);
    page.devices[0].gate = LIMITS_GATE_TURN;
    page.devices[0].turn_end_ns = 1;
    launch();
    assert_true(claims.n_launched == 2 && n_fenced == 2);
    for (unsigned i = 1; i < CLAIMS_WAIT_BINS; i++)
        claims.waits[0] += claims.waits[i];
    assert_int_equal(claims.waits[0], 2);
}

static void test_nobody_waits_where_that_could_break_the_program(void **state)
{
    page.devices[0].gate = LIMITS_GATE_CLOSED;
    is_capturing = true; /* or not known */
    launch();
    assert_true(claims.n_launched == 1 && claims.n_late == 1 && n_fenced == 0);
    has_capture = true; /* of this stream: it is no command */
    launch();
    assert_true(claims.n_launched == 1 && claims.n_late == 1 && n_launched == 1);
    is_capturing = false; /* of another one */
    launch();
    assert_true(claims.n_launched == 2 && claims.n_late == 2 && n_launched == 2);
    has_capture = false;
    gate_begin_call();
    launch();
    gate_end_call();
    assert_true(claims.n_launched == 3 && claims.n_late == 3 && n_fenced == 0);
    assert_int_equal(n_launched, 2); /* and no fence is put from there */
    launch();
    assert_true(claims.n_launched == 4 && claims.n_late == 3 && n_fenced == 1);
}

/* Of commands of 100 us: with four others there is room for one more, with five there is none until
 * all are done. */
static void test_what_is_in_flight_is_bounded(void **state)
{
    page.devices[0].gate = LIMITS_GATE_TURN;
    page.devices[0].in_flight_us = 512;
    queue_left_ns = 500 * US;
    launch();
    assert_true(claims.n_launched == 1 && n_fenced == 0 && queue_left_ns == 400 * US);
    queue_left_ns = 600 * US;
    launch();
    assert_true(claims.n_launched == 2 && n_fenced >= 1 && queue_left_ns == 0);
    assert_true(claims.waits[0] == 0 && claims.waited_ns == 0);
    queue_left_ns = 600 * US;
    has_capture = true;
    n_fenced = 0;
    launch();
    assert_true(claims.n_launched == 3 && claims.n_late == 0 && n_fenced == 0);
}

/* What is in flight may wait for what this thread does next. */
static void test_nobody_waits_for_room_for_long(void **state)
{
    static const struct {
        uint64_t command_ns, left_ns, most_ns;
    } rows[] = {
        {1 * MS, 600 * MS, 12 * MS},   /* two commands, and a moment */
        {80 * MS, 600 * MS, 100 * MS}, /* never more */
        {0, UINT64_MAX, 20 * MS},      /* nobody knows how long one takes */
    };

    page.devices[0].gate = LIMITS_GATE_TURN;
    page.devices[0].in_flight_us = 512;
    is_stuck = true;
    clock_step_ns = MS / 4;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        const uint64_t begin_ns = clock_ns;

        page.beat_ms = (uint32_t)(clock_ns / MS) + 50; /* it stays an arbiter's */
        queue_left_ns = rows[i].left_ns;
        command_ns = rows[i].command_ns;
        launch();
        assert_int_equal(claims.n_launched, i + 1);
        assert_in_range(clock_ns - begin_ns, rows[i].most_ns, rows[i].most_ns + 2 * MS);
    }
}

/* Else each of its fences would come as soon after the last one as in a turn. */
static void test_who_had_a_turn_is_not_gated_forever(void **state)
{
    page.devices[0].gate = LIMITS_GATE_TURN;
    launch();
    assert_true(only.is_gated);
    page.devices[0].gate = LIMITS_GATE_OPEN;
    launch();
    assert_false(only.is_gated);
}

/* Two seconds are left of it: of commands of half a second each there is room for three behind the
 * first one. */
static void test_what_would_begin_after_the_turn_waits(void **state)
{
    page.devices[0].gate = LIMITS_GATE_TURN;
    page.devices[0].turn_end_ns = clock_ns + 2000 * MS;
    command_ns = 500 * MS;
    queue_left_ns = 2000 * MS;
    launch();
    assert_true(claims.n_launched == 1 && n_fenced == 0 && queue_left_ns == 1500 * MS);
    queue_left_ns = 3000 * MS;
    launch();
    assert_true(claims.n_launched == 2 && n_fenced >= 1);
    assert_in_range(queue_left_ns, 1000 * MS, 1500 * MS);
    page.devices[0].turn_end_ns = 0;
    n_fenced = 0;
    queue_left_ns = 9000 * MS;
    launch();
    assert_true(claims.n_launched == 3 && n_fenced == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_gates, set_up),
        cmocka_unit_test_setup(test_a_beat_is_old, set_up),
        cmocka_unit_test_setup(test_a_share_of_the_time_without_an_arbiter, set_up),
        cmocka_unit_test_setup(test_bins_of_waits, set_up),
        cmocka_unit_test_setup(test_nothing_is_counted_without_turns, set_up),
        cmocka_unit_test_setup(test_the_connection_is_looked_at_without_turns, set_up),
        cmocka_unit_test_setup(test_a_launch_that_failed_is_not_counted, set_up),
        cmocka_unit_test_setup(test_a_launch_waits_and_is_counted, set_up),
        cmocka_unit_test_setup(test_nobody_waits_where_that_could_break_the_program, set_up),
        cmocka_unit_test_setup(test_what_is_in_flight_is_bounded, set_up),
        cmocka_unit_test_setup(test_nobody_waits_for_room_for_long, set_up),
        cmocka_unit_test_setup(test_who_had_a_turn_is_not_gated_forever, set_up),
        cmocka_unit_test_setup(test_what_would_begin_after_the_turn_waits, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
