// SPDX-License-Identifier: Apache-2.0

/* Items wait for the end of a batch: each is called once, in their order, and none that was
 * removed. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "arbiter/batchend.h"

enum { N = 4 };

static uv_loop_t loop;
static struct batchend *end;
static struct batchend_item items[N], *is_removed_by_first, *is_added_by_first;
static struct batchend_item *called[2 * N];
static size_t n_called;

static void on_end(struct batchend_item *item)
{
    called[n_called++] = item;
    if (item != &items[0])
        return;
    if (is_removed_by_first)
        batchend_remove(end, is_removed_by_first);
    if (is_added_by_first)
        batchend_add(end, is_added_by_first);
}

static int begin(void **state)
{
    (void)state;
    for (size_t i = 0; i < N; i++)
        items[i] = (struct batchend_item){.link = NULL};
    is_removed_by_first = is_added_by_first = NULL;
    n_called = 0;
    if (uv_loop_init(&loop) < 0)
        return -1;
    end = batchend_new(&loop, on_end);
    return end ? 0 : -1;
}

static int finish(void **state)
{
    (void)state;
    batchend_free(end);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop);
}

static void test_each_once_in_their_order(void **state)
{
    (void)state;
    batchend_add(end, &items[1]);
    batchend_add(end, &items[0]);
    batchend_add(end, &items[1]);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(n_called, 2);
    assert_ptr_equal(called[0], &items[1]);
    assert_ptr_equal(called[1], &items[0]);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(n_called, 2);
}

static void test_none_that_was_removed(void **state)
{
    (void)state;
    for (size_t i = 0; i < N; i++)
        batchend_add(end, &items[i]);
    batchend_remove(end, &items[N - 1]);
    batchend_remove(end, &items[N - 1]);
    is_removed_by_first = &items[1];
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(n_called, 2);
    assert_ptr_equal(called[1], &items[2]);
    batchend_add(end, &items[3]); /* the list is whole */
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_ptr_equal(called[2], &items[3]);
}

static void test_who_is_added_meanwhile_is_of_the_next_batch(void **state)
{
    (void)state;
    batchend_add(end, &items[0]);
    is_added_by_first = &items[0];
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(n_called, 1);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(n_called, 2);
    batchend_remove(end, &items[0]);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, finish)
    const struct CMUnitTest tests[] = {
        TEST(test_each_once_in_their_order),
        TEST(test_none_that_was_removed),
        TEST(test_who_is_added_meanwhile_is_of_the_next_batch),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
