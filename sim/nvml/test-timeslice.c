// SPDX-License-Identifier: Apache-2.0

/* Who has the device, for how long, and what it costs; all times are given. */

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "nvml/timeslice.h"

#define US    UINT64_C(1000)
#define MS    (1000 * US)
#define SLICE (TIMESLICE_SLICE_US * US)

static const uint64_t preempted_ns = (TIMESLICE_SLICE_US + TIMESLICE_PREEMPT_US) * US;
static const uint64_t start_ns = 1000 * MS;

/* Bytes, from its begin. */
static size_t size_in_use(const struct timeslices *s)
{
    return offsetof(struct timeslices, contexts) + s->n_contexts * sizeof(s->contexts[0]);
}

static unsigned join(struct timeslices *s, uint64_t client)
{
    return timeslice_join(s, &(struct timeslice_context){.client = client});
}

/* A device with so many contexts, which have no work yet. */
static struct timeslices device(unsigned n)
{
    struct timeslices s;

    timeslice_init(&s);
    timeslice_advance(&s, start_ns);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(join(&s, 100 + i), i);
    return s;
}

static uint64_t received(const struct timeslices *s, unsigned context)
{
    return s->contexts[context].received_ns;
}

static void give(struct timeslices *s, unsigned context, uint64_t ns)
{
    timeslice_give(s, context, s->contexts[context].wanted_ns + ns);
}

static void test_one_alone_pays_one_change_and_no_more(void **state)
{
    struct timeslices s = device(2);

    give(&s, 0, 500 * MS);
    timeslice_advance(&s, start_ns + 500 * MS + TIMESLICE_SWITCH_US * US);
    assert_int_equal(received(&s, 0), 500 * MS);
    assert_int_equal(s.switch_ns, TIMESLICE_SWITCH_US * US);
    for (unsigned i = 0; i < 10; i++) {
        timeslice_advance(&s, s.now_ns + 3 * MS); /* idle */
        give(&s, 0, 70 * US);
        timeslice_advance(&s, s.now_ns + 70 * US);
    }
    assert_int_equal(received(&s, 0), 500 * MS + 10 * 70 * US);
    assert_int_equal(s.switch_ns, TIMESLICE_SWITCH_US * US);
}

/* By contexts: how much each has queued makes no difference. */
static void test_backlogged_contexts_get_equal_time(void **state)
{
    enum { N = 4, ROUNDS = 100 };
    struct timeslices s = device(N);

    for (unsigned i = 0; i < N; i++)
        give(&s, i, (1 + i) * 1000 * MS);
    timeslice_advance(&s, start_ns + TIMESLICE_SWITCH_US * US + ROUNDS * N * preempted_ns - US);
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(received(&s, i), ROUNDS * SLICE);
        assert_int_equal(s.contexts[i].n_slices, ROUNDS);
    }
    assert_int_equal(s.busy_ns, N * ROUNDS * SLICE);
    assert_int_equal(s.switch_ns,
                     (TIMESLICE_SWITCH_US + N * ROUNDS * TIMESLICE_PREEMPT_US - 1) * US);
}

/* Kernels that are synchronised one by one pay a change each: 66 us of 193, as on an H100. */
static void test_short_kernels_give_way_at_once(void **state)
{
    enum { N = 4, ROUNDS = 50 };
    const uint64_t kernel_ns = 66 * US, turn_ns = kernel_ns + TIMESLICE_SWITCH_US * US;
    struct timeslices s = device(N);

    for (unsigned i = 0; i < N; i++)
        give(&s, i, kernel_ns);
    for (unsigned turn = 1; turn <= N * ROUNDS; turn++) {
        timeslice_advance(&s, start_ns + turn * turn_ns);
        give(&s, (turn - 1) % N, kernel_ns); /* the next one, as soon as it was seen */
    }
    for (unsigned i = 0; i < N; i++)
        assert_int_equal(received(&s, i), ROUNDS * kernel_ns);
}

/* It waits for a slice of each heavy one, and no longer. */
static void test_light_beside_heavy(void **state)
{
    for (unsigned n = 1; n <= 7; n++) {
        struct timeslices s = device(n + 1);
        uint64_t foreign;

        for (unsigned i = 1; i <= n; i++)
            give(&s, i, 100000 * MS);
        for (unsigned burst = 1; burst < 20; burst++) {
            timeslice_advance(&s, s.now_ns + 200 * US);
            foreign = s.contexts[0].n_foreign;
            give(&s, 0, 70 * US);
            timeslice_advance_until(&s, 0, received(&s, 0) + 70 * US, s.now_ns + 1000 * MS);
            assert_int_equal(received(&s, 0), burst * 70 * US);
            assert_int_equal(s.contexts[0].n_foreign - foreign, n);
            assert_int_equal(s.contexts[0].n_slices, burst);
        }
    }
}

static void test_what_leaves_gives_its_slice_away(void **state)
{
    struct timeslices s = device(3);

    for (unsigned i = 0; i < 3; i++)
        give(&s, i, 1000 * MS);
    timeslice_advance(&s, start_ns + (TIMESLICE_SWITCH_US + 1000) * US); /* the first one's */
    timeslice_leave(&s, 0);
    timeslice_advance(&s, s.now_ns + (TIMESLICE_SWITCH_US + 1000) * US);
    assert_int_equal(received(&s, 1), MS);
    timeslice_leave(&s, 2);
    timeslice_advance(&s, s.now_ns + 100 * MS);
    assert_int_equal(received(&s, 1), 101 * MS); /* alone */
    assert_int_equal(s.n_contexts, 2);
    assert_int_equal(join(&s, 7), 0);
}

/* Also in the middle of a change. */
static void test_advancing_in_steps_makes_no_difference(void **state)
{
    static const uint64_t steps[] = {1, 999, 77 * US, 3 * MS, 130 * MS, 450 * MS};

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        struct timeslices once = device(3), often;

        give(&once, 0, 40 * MS);
        give(&once, 1, 9 * MS);
        give(&once, 2, 25 * MS);
        often = once;
        timeslice_advance(&once, start_ns + 40 * steps[i]);
        for (unsigned k = 1; k <= 40; k++)
            timeslice_advance(&often, start_ns + k * steps[i]);
        assert_memory_equal(&once, &often, size_in_use(&once));
    }
}

static void test_a_time_that_is_past_changes_nothing(void **state)
{
    struct timeslices s = device(1), before;

    give(&s, 0, 5 * MS);
    before = s;
    timeslice_advance(&s, start_ns - MS);
    assert_memory_equal(&s, &before, size_in_use(&s));
}

/* In percent of the last complete sample: 0 when it was idle, and half if half of it was worked. */
static void test_busy_share(void **state)
{
    const uint64_t sample_ns = TIMESLICE_SAMPLE_MS * MS;
    struct timeslices s = device(2);

    assert_int_equal(start_ns % sample_ns, 0);
    assert_int_equal(timeslice_percent(&s), 0);
    give(&s, 0, sample_ns / 2 - TIMESLICE_SWITCH_US * US);
    timeslice_advance(&s, start_ns + sample_ns);
    assert_int_equal(timeslice_percent(&s), 50);
    give(&s, 0, 1000 * MS);
    give(&s, 1, 1000 * MS); /* changes are no idle time */
    timeslice_advance(&s, s.now_ns + sample_ns);
    assert_int_equal(timeslice_percent(&s), 100);
    timeslice_advance(&s, s.now_ns + 100 * sample_ns);
    assert_int_equal(timeslice_percent(&s), 0);
}

static void test_too_many_contexts(void **state)
{
    struct timeslices s = device(TIMESLICE_CONTEXTS);

    assert_int_equal(join(&s, 7), TIMESLICE_NONE);
    timeslice_leave(&s, 5);
    assert_int_equal(join(&s, 7), 5);
}

/* Whatever lies there: nothing is used that is not in it, and what has work gets it done. */
static void test_foreign_words_are_safe(void **state)
{
    struct timeslices s = device(2);

    give(&s, 0, 5 * MS);
    s.current = 99;
    s.slice_ns = UINT64_MAX;
    s.contexts[0].place = 0;
    s.contexts[1].place = 1;
    timeslice_repair(&s);
    timeslice_advance(&s, s.now_ns + 100 * MS);
    assert_int_equal(received(&s, 0), 5 * MS);
    memset(&s, 0xff, sizeof(s));
    timeslice_repair(&s);
    assert_int_equal(size_in_use(&s), offsetof(struct timeslices, contexts));
    assert_in_range(timeslice_percent(&s), 0, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_alone_pays_one_change_and_no_more),
        cmocka_unit_test(test_backlogged_contexts_get_equal_time),
        cmocka_unit_test(test_short_kernels_give_way_at_once),
        cmocka_unit_test(test_light_beside_heavy),
        cmocka_unit_test(test_what_leaves_gives_its_slice_away),
        cmocka_unit_test(test_advancing_in_steps_makes_no_difference),
        cmocka_unit_test(test_a_time_that_is_past_changes_nothing),
        cmocka_unit_test(test_busy_share),
        cmocka_unit_test(test_too_many_contexts),
        cmocka_unit_test(test_foreign_words_are_safe),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
