// SPDX-License-Identifier: Apache-2.0

/* Which waits are claimed, which have a fence, and what is known when they are over; by a clock of
 * the test's. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "shim/await.h"
#include "shim/gate.h"
#include "shim/quickclock.h"
#include "shim/quickpass.h"
#include "shim/session.h"

#define US UINT64_C(1000)

/* --- the clock --- */

static uint64_t clock_ns;

uint64_t quickclock_ns(void)
{
    return clock_ns;
}

uint64_t quickclock_since(uint64_t then_ns, uint64_t now_ns)
{
    return now_ns > then_ns ? now_ns - then_ns : 0;
}

/* --- what there is in streams --- */

static char of_own;

static CUstream stream_of_own(void)
{
    return (CUstream)&of_own;
}

static struct claims_device claims;
static struct lane own, legacy;
static struct lane *new_one; /* of n_new that are new */
static unsigned n_new;
static unsigned n_uncounted; /* launches that passed quickly */
static bool is_on, takes_a_moment;
static uint64_t generation;
static unsigned n_fenced, n_fenced_all, n_due, n_begun, n_ended, n_final;

bool gate_is_on(void)
{
    return is_on;
}

int session_position(int slot)
{
    return slot;
}

void quickpass_claim_all(void)
{
    claims.n_launched += n_uncounted;
    n_uncounted = 0;
}

uint64_t lanes_generation(void)
{
    return generation;
}

struct claims_device *lanes_claims(int position)
{
    return &claims;
}

struct lane *lanes_find(const struct cuda_functions *driver, CUstream stream, bool is_per_thread)
{
    return &own;
}

unsigned lanes_find_new(const struct cuda_functions *driver, CUstream stream, struct lane **ret_one)
{
    *ret_one = stream ? &own : new_one;
    return stream ? own.tail == LANE_TAIL_NEW : n_new;
}

unsigned lanes_find_recent(const struct cuda_functions *driver, CUstream stream, uint64_t now_ns,
                           struct lane **ret_one)
{
    *ret_one = stream == stream_of_own() ? &own : new_one;
    if (stream)
        return stream == (*ret_one)->stream && (*ret_one)->tail != LANE_TAIL_NONE;
    return n_new;
}

bool lanes_begin_wait(struct lane *lane, uint64_t now_ns, struct lane_wait *ret_wait)
{
    *ret_wait = (struct lane_wait){.n_given = 1};
    n_begun += takes_a_moment;
    return takes_a_moment;
}

void lanes_end_wait(struct lane *lane, const struct lane_wait *wait, bool is_done, uint64_t now_ns)
{
    n_ended++;
    n_final += is_done;
}

void lanes_fence(const struct cuda_functions *driver, struct lane *lane, uint64_t now_ns)
{
    n_fenced++;
}

void lanes_fence_all(const struct cuda_functions *driver, uint64_t now_ns)
{
    n_fenced_all++;
}

void lanes_fence_due(const struct cuda_functions *driver, CUstream stream, uint64_t now_ns)
{
    n_due++;
}

/* --- helpers --- */

static const struct cuda_functions driver;
static char of_event;

static CUresult ask(CUresult answer)
{
    return await_asked_stream(&driver, stream_of_own(), answer);
}

static CUresult ask_event(CUresult answer)
{
    return await_asked_event(&driver, (CUevent)&of_event, answer);
}

static void assert_waits(unsigned begun, unsigned ended, unsigned final)
{
    assert_int_equal(n_begun, begun);
    assert_int_equal(n_ended, ended);
    assert_int_equal(n_final, final);
}

static int set_up(void **state)
{
    memset(&claims, 0, sizeof(claims));
    own = (struct lane){.stream = stream_of_own(), .tail = LANE_TAIL_NEW};
    legacy = (struct lane){.stream = CU_STREAM_LEGACY, .tail = LANE_TAIL_NEW};
    new_one = &own;
    n_new = 1;
    is_on = takes_a_moment = true;
    generation = 1;
    clock_ns += 1000000 * US;
    ask(CUDA_SUCCESS);
    ask_event(CUDA_SUCCESS);
    n_fenced = n_fenced_all = n_due = n_begun = n_ended = n_final = 0;
    return 0;
}

/* --- calls that wait --- */

static void test_what_is_awaited_has_a_fence_or_ends_soon(void **state)
{
    struct await wait;

    takes_a_moment = false;
    wait = await_stream(&driver, NULL, true);
    assert_int_equal(await_end(&wait, CUDA_SUCCESS), CUDA_SUCCESS);
    assert_int_equal(n_fenced, 1);
    assert_waits(0, 0, 0);
    takes_a_moment = true;
    wait = await_stream(&driver, NULL, true);
    assert_int_equal(await_end(&wait, CUDA_SUCCESS), CUDA_SUCCESS);
    assert_waits(1, 1, 1);
    wait = await_stream(&driver, NULL, true);
    assert_int_equal(await_end(&wait, CUDA_ERROR_LAUNCH_FAILED), CUDA_ERROR_LAUNCH_FAILED);
    assert_waits(2, 2, 1);
    assert_int_equal(n_fenced, 1);
}

/* --- copies --- */

static void test_copies(void **state)
{
    static const struct {
        const char *what;
        bool is_legacy;   /* the stream that is copied into */
        struct lane *one; /* that has something new, of so many */
        unsigned n;
        uint64_t bytes;
        enum await_copy copy;
        bool takes_long;
        unsigned claimed, final, fenced, fenced_all;
    } rows[] = {
        {"done", false, &own, 1, 4, AWAIT_DONE, false, 1, 1, 0, 0},
        {"nothing, which waits for nothing", false, &own, 1, 0, AWAIT_DONE, false, 1, 0, 0, 0},
        {"maybe", false, &own, 1, 4, AWAIT_MAYBE, false, 1, 0, 0, 0},
        {"short and sent", false, &own, 1, 4, AWAIT_SENT, false, 0, 0, 0, 0},
        {"long and sent", false, &own, 1, 64 << 20, AWAIT_SENT, false, 0, 0, 1, 0},
        {"long", false, &own, 1, 64 << 20, AWAIT_DONE, false, 0, 0, 1, 0},
        {"behind much", false, &own, 1, 4, AWAIT_DONE, true, 0, 0, 1, 0},
        {"legacy", true, &legacy, 1, 4, AWAIT_DONE, false, 1, 1, 0, 0},
        {"legacy, for another", true, &own, 1, 4, AWAIT_DONE, false, 1, 0, 0, 0},
        {"legacy, for many", true, &own, 2, 4, AWAIT_DONE, false, 0, 0, 0, 1},
        {"legacy, for nothing", true, &own, 0, 4, AWAIT_DONE, false, 0, 0, 0, 0},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct await wait;

        set_up(NULL);
        print_message("%s\n", rows[i].what);
        new_one = rows[i].one;
        n_new = rows[i].n;
        takes_a_moment = !rows[i].takes_long;
        wait = await_copy(&driver, rows[i].is_legacy ? NULL : stream_of_own(), false, rows[i].bytes,
                          rows[i].copy);
        assert_int_equal(await_end(&wait, CUDA_SUCCESS), CUDA_SUCCESS);
        assert_waits(rows[i].claimed, rows[i].claimed, rows[i].final);
        assert_true(n_fenced == rows[i].fenced && n_fenced_all == rows[i].fenced_all);
    }
}

/* Who launched once, and copies ever since, is not at work. */
static void test_copies_without_anything_new_claim_nothing(void **state)
{
    struct await wait;

    own.tail = LANE_TAIL_AWAITED;
    wait = await_copy(&driver, stream_of_own(), false, 4, AWAIT_MAYBE);
    await_end(&wait, CUDA_SUCCESS);
    own.tail = LANE_TAIL_NONE;
    wait = await_copy(&driver, stream_of_own(), false, 4, AWAIT_DONE);
    await_end(&wait, CUDA_SUCCESS);
    wait = await_copy(&driver, stream_of_own(), false, 64 << 20, AWAIT_SENT);
    await_end(&wait, CUDA_SUCCESS);
    assert_waits(0, 0, 0);
    assert_true(n_fenced == 0 && n_fenced_all == 0);
}

/* As of one to memory of the driver's, which did not wait; this one does, and nothing is left. */
static void test_who_waits_behind_a_copy_that_may_have_waited(void **state)
{
    struct await wait;

    own.tail = LANE_TAIL_AWAITED;
    wait = await_copy(&driver, stream_of_own(), false, 4, AWAIT_DONE);
    await_end(&wait, CUDA_SUCCESS);
    assert_waits(1, 1, 1);
    takes_a_moment = false;
    wait = await_copy(&driver, stream_of_own(), false, 4, AWAIT_DONE);
    await_end(&wait, CUDA_SUCCESS);
    assert_waits(1, 1, 1);
    assert_int_equal(n_fenced, 1);
}

/* --- ends --- */

/* Of what it is not known whether it waits, nothing is done afterwards. */
static void test_what_ends_something_may_wait_for_all(void **state)
{
    assert_int_equal(AWAIT_PERHAPS_ALL(&driver, CUDA_ERROR_INVALID_VALUE),
                     CUDA_ERROR_INVALID_VALUE);
    assert_waits(1, 1, 0);
    assert_int_equal(AWAIT_PERHAPS_ALL(&driver, CUDA_SUCCESS), CUDA_SUCCESS);
    assert_waits(2, 2, 0);
    assert_true(n_fenced == 0 && n_fenced_all == 0);
    takes_a_moment = false;
    AWAIT_PERHAPS_ALL(&driver, CUDA_SUCCESS);
    assert_int_equal(n_fenced, 1);
    n_new = 2;
    AWAIT_PERHAPS_ALL(&driver, CUDA_SUCCESS);
    assert_int_equal(n_fenced_all, 1);
    n_new = 0;
    AWAIT_PERHAPS_ALL(&driver, CUDA_SUCCESS);
    assert_waits(2, 2, 0);
    assert_true(n_fenced == 1 && n_fenced_all == 1);
}

/* --- questions --- */

static void test_who_asks_again_at_once_waits_until_it_is_done(void **state)
{
    assert_int_equal(ask(CUDA_ERROR_NOT_READY), CUDA_ERROR_NOT_READY);
    assert_waits(0, 0, 0);
    for (unsigned i = 0; i < 100; i++) {
        clock_ns += 5 * US;
        assert_int_equal(ask(CUDA_ERROR_NOT_READY), CUDA_ERROR_NOT_READY);
    }
    assert_waits(1, 0, 0);
    assert_int_equal(ask(CUDA_SUCCESS), CUDA_SUCCESS);
    assert_waits(1, 1, 1);
    assert_int_equal(ask(CUDA_SUCCESS), CUDA_SUCCESS);
    assert_waits(1, 1, 1);
}

static void test_of_an_event_nobody_knows_what_is_done(void **state)
{
    ask_event(CUDA_ERROR_NOT_READY);
    ask_event(CUDA_ERROR_NOT_READY);
    assert_waits(1, 0, 0);
    assert_int_equal(ask_event(CUDA_SUCCESS), CUDA_SUCCESS);
    assert_waits(1, 1, 0);
}

/* It waits for others of its context, as where it is waited for. */
static void test_the_legacy_stream_waits_for_others(void **state)
{
    own.tail = LANE_TAIL_NEW;
    for (unsigned i = 0; i < 2; i++)
        await_asked_stream(&driver, CU_STREAM_LEGACY, CUDA_ERROR_NOT_READY);
    assert_waits(1, 0, 0);
    await_asked_stream(&driver, CU_STREAM_LEGACY, CUDA_SUCCESS);
    assert_waits(1, 1, 0);
    new_one = &legacy;
    for (unsigned i = 0; i < 2; i++)
        await_asked_stream(&driver, CU_STREAM_LEGACY, CUDA_ERROR_NOT_READY);
    await_asked_stream(&driver, CU_STREAM_LEGACY, CUDA_SUCCESS);
    assert_waits(2, 2, 1);
    n_new = 2;
    for (unsigned i = 0; i < 2; i++)
        await_asked_stream(&driver, CU_STREAM_LEGACY, CUDA_ERROR_NOT_READY);
    assert_int_equal(n_fenced_all, 1);
}

static void test_an_event_of_one_of_many_streams_has_fences(void **state)
{
    n_new = 2;
    ask_event(CUDA_ERROR_NOT_READY);
    ask_event(CUDA_ERROR_NOT_READY);
    assert_waits(0, 0, 0);
    assert_int_equal(n_fenced_all, 1);
}

/* It has a fence when it is time for one, and no more. */
static void test_who_asks_now_and_then_does_not_wait(void **state)
{
    for (unsigned i = 0; i < 10; i++) {
        ask(CUDA_ERROR_NOT_READY);
        clock_ns += 200 * US;
    }
    for (unsigned i = 0; i < 10; i++) {
        ask_event(CUDA_ERROR_NOT_READY);
        claims.n_launched++; /* it has other things to do */
    }
    assert_waits(0, 0, 0);
    assert_true(n_due == 20 && n_fenced == 0 && n_fenced_all == 0);
}

/* The arbiter believes no wait for long. */
static void test_what_takes_longer_than_it_seemed_has_a_fence(void **state)
{
    ask(CUDA_ERROR_NOT_READY);
    ask(CUDA_ERROR_NOT_READY);
    clock_ns += 4999 * US;
    ask(CUDA_ERROR_NOT_READY);
    assert_waits(1, 0, 0);
    assert_int_equal(n_due, 1);
    clock_ns += 1 * US;
    ask(CUDA_ERROR_NOT_READY);
    assert_waits(1, 1, 0);
    assert_int_equal(n_due, 2);
    own.tail = LANE_TAIL_NONE;
    ask(CUDA_ERROR_NOT_READY);
    assert_waits(1, 1, 0);
}

/* It was taken for done, and is not: by a fence it shows when it is. */
static void test_what_was_launched_long_ago_and_is_not_done_has_a_fence(void **state)
{
    n_new = 0;
    ask_event(CUDA_ERROR_NOT_READY);
    assert_int_equal(n_due, 1);
    ask_event(CUDA_ERROR_NOT_READY);
    assert_waits(0, 0, 0);
    is_on = false;
    n_due = 0;
    ask_event(CUDA_ERROR_NOT_READY);
    assert_int_equal(n_due, 0);
}

static void test_who_does_something_else_waits_no_longer(void **state)
{
    struct await wait;

    ask(CUDA_ERROR_NOT_READY);
    ask(CUDA_ERROR_NOT_READY);
    assert_waits(1, 0, 0);
    ask_event(CUDA_ERROR_NOT_READY);
    ask_event(CUDA_ERROR_NOT_READY);
    assert_waits(2, 1, 0);
    wait = await_stream(&driver, stream_of_own(), false);
    assert_waits(3, 2, 0);
    await_end(&wait, CUDA_SUCCESS);
    assert_waits(3, 3, 1);
}

/* Nothing shows how long that takes: the wait was for what there was. */
static void test_who_launches_and_goes_on_asking_waits_for_that(void **state)
{
    ask(CUDA_ERROR_NOT_READY);
    ask(CUDA_ERROR_NOT_READY);
    claims.n_launched++;
    ask(CUDA_ERROR_NOT_READY);
    assert_waits(1, 1, 0);
    assert_int_equal(n_due, 2);
    ask(CUDA_ERROR_NOT_READY);
    assert_waits(2, 1, 0);
    claims.n_launched++;
    takes_a_moment = false;
    ask(CUDA_ERROR_NOT_READY);
    ask(CUDA_ERROR_NOT_READY);
    assert_waits(2, 2, 0);
    assert_int_equal(n_fenced, 1);
    ask(CUDA_SUCCESS);
    assert_waits(2, 2, 0);
}

/* What the thread counts by itself is no launch yet. */
static void test_launches_are_claimed_before_it_is_judged_by_them(void **state)
{
    ask(CUDA_ERROR_NOT_READY);
    ask(CUDA_ERROR_NOT_READY);
    n_uncounted = 1;
    ask(CUDA_ERROR_NOT_READY);
    assert_waits(1, 1, 0);
}

/* The lane may be another stream's. */
static void test_a_wait_of_before_a_change_tells_nothing(void **state)
{
    ask(CUDA_ERROR_NOT_READY);
    ask(CUDA_ERROR_NOT_READY);
    generation++;
    ask(CUDA_SUCCESS);
    assert_waits(1, 1, 0);
}

static void test_nothing_is_claimed_without_turns(void **state)
{
    struct await wait;

    is_on = false;
    ask(CUDA_ERROR_NOT_READY);
    ask(CUDA_ERROR_NOT_READY);
    ask_event(CUDA_ERROR_NOT_READY);
    ask_event(CUDA_ERROR_NOT_READY);
    wait = await_copy(&driver, NULL, false, 4, AWAIT_DONE);
    await_end(&wait, CUDA_SUCCESS);
    AWAIT_PERHAPS_ALL(&driver, CUDA_SUCCESS);
    assert_waits(0, 0, 0);
    assert_true(n_due == 0 && n_fenced == 0 && n_fenced_all == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_what_is_awaited_has_a_fence_or_ends_soon, set_up),
        cmocka_unit_test_setup(test_copies, set_up),
        cmocka_unit_test_setup(test_copies_without_anything_new_claim_nothing, set_up),
        cmocka_unit_test_setup(test_what_ends_something_may_wait_for_all, set_up),
        cmocka_unit_test_setup(test_who_waits_behind_a_copy_that_may_have_waited, set_up),
        cmocka_unit_test_setup(test_who_asks_again_at_once_waits_until_it_is_done, set_up),
        cmocka_unit_test_setup(test_of_an_event_nobody_knows_what_is_done, set_up),
        cmocka_unit_test_setup(test_the_legacy_stream_waits_for_others, set_up),
        cmocka_unit_test_setup(test_an_event_of_one_of_many_streams_has_fences, set_up),
        cmocka_unit_test_setup(test_who_asks_now_and_then_does_not_wait, set_up),
        cmocka_unit_test_setup(test_what_takes_longer_than_it_seemed_has_a_fence, set_up),
        cmocka_unit_test_setup(test_what_was_launched_long_ago_and_is_not_done_has_a_fence, set_up),
        cmocka_unit_test_setup(test_who_does_something_else_waits_no_longer, set_up),
        cmocka_unit_test_setup(test_who_launches_and_goes_on_asking_waits_for_that, set_up),
        cmocka_unit_test_setup(test_launches_are_claimed_before_it_is_judged_by_them, set_up),
        cmocka_unit_test_setup(test_a_wait_of_before_a_change_tells_nothing, set_up),
        cmocka_unit_test_setup(test_nothing_is_claimed_without_turns, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
