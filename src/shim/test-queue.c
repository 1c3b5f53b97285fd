// SPDX-License-Identifier: Apache-2.0

/* What a stream has to do, by fences that are passed at known times. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shim/queue.h"

#define US UINT64_C(1000)

static void give(struct queue *queue, unsigned n, uint64_t now_ns)
{
    for (unsigned i = 0; i < n; i++)
        queue_give(queue, 1, now_ns);
}

static void test_nothing_is_known_before_a_fence_is_passed(void **state)
{
    struct queue queue = {0};

    assert_true(queue_is_empty(&queue) && queue_ns(&queue) == 0);
    give(&queue, 1, 0);
    queue_mark(&queue, 1);
    queue_look(&queue, 0, 50 * US);
    assert_false(queue_is_empty(&queue));
    assert_int_equal(queue_ns(&queue), UINT64_MAX);
    queue_look(&queue, 1, 100 * US);
    assert_true(queue_is_empty(&queue));
    assert_int_equal(queue.command_ns, 100 * US);
}

static void test_what_is_not_done_counts_by_the_mean(void **state)
{
    struct queue queue = {0};

    give(&queue, 10, 0);
    queue_mark(&queue, 1);
    give(&queue, 5, 0);
    queue_look(&queue, 1, 100 * US);
    assert_int_equal(queue_ns(&queue), 50 * US);
    queue_mark(&queue, 2);
    queue_look(&queue, 2, 150 * US);
    assert_int_equal(queue_ns(&queue), 0);
}

/* A host that comes back late does not take small commands for large ones. */
static void test_who_looks_seldom_learns_little(void **state)
{
    struct queue queue = {0};

    give(&queue, 1, 0);
    queue_mark(&queue, 1);
    queue_look(&queue, 1, 10 * US);
    for (uint32_t i = 2; i < 6; i++) {
        give(&queue, 1, (uint64_t)i * 10000 * US);
        queue_mark(&queue, i);
        queue_look(&queue, i, (uint64_t)i * 10000 * US + 5000 * US);
        assert_int_equal(queue.command_ns, 10 * US);
    }
}

/* Seen not to be done for longer than was thought: it takes longer. */
static void test_longer_commands_are_learned(void **state)
{
    struct queue queue = {0};
    uint64_t now = 0;

    for (uint32_t i = 1; i < 20; i++) {
        give(&queue, 1, now);
        queue_mark(&queue, i);
        queue_look(&queue, i - 1, now + (i < 4 ? 9 : 990) * US);
        now += (i < 4 ? 10 : 1000) * US;
        queue_look(&queue, i, now);
    }
    assert_in_range(queue.command_ns, 900 * US, 1000 * US);
}

static void test_fences_that_were_forgotten_and_numbers_that_wrap(void **state)
{
    struct queue queue = {.n_given = UINT32_MAX - 5, .n_done = UINT32_MAX - 5};
    const uint32_t first = UINT32_MAX - 10;

    for (uint32_t i = 0; i < 40; i++) {
        give(&queue, 1, 0);
        queue_mark(&queue, first + i);
    }
    queue_look(&queue, first + 10, 100 * US); /* some are known */
    assert_in_range(queue.n_given - queue.n_done, 29, 33);
    queue_look(&queue, first + 30, 310 * US);
    assert_in_range(queue.n_given - queue.n_done, 9, 13);
    queue_look(&queue, first + 39, 400 * US);
    assert_true(queue_is_empty(&queue));
}

/* Hundreds of fences are behind what is done, and go on coming: what is done is
 * seen before another quarter of the queue is. */
static void test_long_queues_are_seen_to_get_on(void **state)
{
    const uint32_t n_deep = 400, n_more = 2000;
    struct queue queue = {0};

    for (uint32_t i = 1; i <= n_deep + n_more; i++) {
        const uint32_t done = i > n_deep ? i - n_deep : 0;

        give(&queue, 1, i * (100 * US));
        queue_mark(&queue, i);
        queue_look(&queue, done, i * (100 * US));
        assert_in_range(queue.n_done, done > n_deep / 4 ? done - n_deep / 4 : 0, done);
    }
    queue_look(&queue, n_deep + n_more, (n_deep + n_more + 1) * (100 * US));
    assert_true(queue_is_empty(&queue));
}

/* Whatever the device's word says, it is compared with the numbers that were given, and no more. */
static void test_garbage_is_taken_for_a_number(void **state)
{
    struct queue queue = {0};

    give(&queue, 3, 0);
    queue_mark(&queue, 1);
    queue_look(&queue, 0x80000001, 10 * US);
    assert_false(queue_is_empty(&queue));
    queue_look(&queue, 77, 10 * US);
    assert_true(queue_is_empty(&queue));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_known_before_a_fence_is_passed),
        cmocka_unit_test(test_what_is_not_done_counts_by_the_mean),
        cmocka_unit_test(test_who_looks_seldom_learns_little),
        cmocka_unit_test(test_longer_commands_are_learned),
        cmocka_unit_test(test_fences_that_were_forgotten_and_numbers_that_wrap),
        cmocka_unit_test(test_long_queues_are_seen_to_get_on),
        cmocka_unit_test(test_garbage_is_taken_for_a_number),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
