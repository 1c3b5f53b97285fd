// SPDX-License-Identifier: Apache-2.0

/* The mode that holds: the agent's last wish, kept over restarts, and the file that switches off.
 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "arbiter/enforcement.h"
#include "base/clock.h"
#include "base/file.h"
#include "grant/test-tempdir.h"

enum { SOON_MS = 2000 }; /* promised to who switches */

static uv_loop_t loop;
static struct enforcement *enforcement;
static struct arbiter_wish first;
static unsigned n_changes;

static void on_changed(void *userdata)
{
    (void)userdata;
    n_changes++;
}

static void start(void)
{
    struct error err = ERROR_INIT;

    n_changes = 0;
    if (enforcement_new(&loop, tempdir, &first, on_changed, NULL, &enforcement, &err) < 0)
        fail_msg("%s", error_text(&err));
}

static void end(void)
{
    enforcement_free(enforcement);
    enforcement = NULL;
    uv_run(&loop, UV_RUN_DEFAULT);
}

static int set_up(void **state)
{
    first = (struct arbiter_wish){.mode = LIMITS_NONE};
    return tempdir_make(state) < 0 ? -1 : uv_loop_init(&loop);
}

static int tear_down(void **state)
{
    end();
    return uv_loop_close(&loop) == 0 ? tempdir_remove(state) : -1;
}

/* Runs the loop until that many changes; fails where they are not reported in time. */
static void wait_changes(unsigned wanted)
{
    const uint64_t until_ms = clock_now_ms() + SOON_MS;

    while (n_changes < wanted && clock_now_ms() < until_ms)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(n_changes, wanted);
}

static const struct arbiter_wish enforced = {.mode = LIMITS_ENFORCED, .overcommits = true},
                                 observe = {.mode = LIMITS_OBSERVE};

static void test_before_any_agent_nothing_is_limited(void **state)
{
    start();
    assert_int_equal(enforcement_mode(enforcement), LIMITS_NONE);
    assert_false(enforcement_is_off(enforcement));
}

static void test_the_first_mode_holds_until_there_is_a_wish(void **state)
{
    first.mode = LIMITS_ENFORCED;
    start();
    assert_int_equal(enforcement_mode(enforcement), LIMITS_ENFORCED);
    enforcement_set_wish(enforcement, &observe);
    assert_int_equal(enforcement_mode(enforcement), LIMITS_OBSERVE);
    end();
    start();
    assert_int_equal(enforcement_mode(enforcement), LIMITS_OBSERVE);
}

static void test_a_wish_outlives_the_agent_and_the_arbiter(void **state)
{
    start();
    enforcement_set_wish(enforcement, &enforced);
    assert_int_equal(n_changes, 1);
    enforcement_set_wish(enforcement, &enforced);
    assert_int_equal(n_changes, 1);
    end();
    start();
    assert_int_equal(enforcement_mode(enforcement), LIMITS_ENFORCED);
    assert_true(enforcement_get_wish(enforcement)->overcommits);
}

static void test_switching_off_and_on(void **state)
{
    start();
    enforcement_set_wish(enforcement, &enforced);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(enforcement_switch(tempdir, true, NULL), 0);
    wait_changes(2);
    assert_int_equal(enforcement_mode(enforcement), LIMITS_NONE);
    assert_int_equal(enforcement_get_wish(enforcement)->mode, LIMITS_ENFORCED);
    enforcement_set_wish(enforcement, &observe); /* counting is not enforcing */
    assert_int_equal(enforcement_mode(enforcement), LIMITS_OBSERVE);
    enforcement_set_wish(enforcement, &enforced);
    assert_int_equal(enforcement_mode(enforcement), LIMITS_NONE);
    n_changes = 0;
    assert_int_equal(enforcement_switch(tempdir, false, NULL), 0);
    wait_changes(1);
    assert_int_equal(enforcement_mode(enforcement), LIMITS_ENFORCED);
    assert_int_equal(enforcement_switch(tempdir, false, NULL), 0);
}

static void test_turns_are_switched_off_as_well(void **state)
{
    struct arbiter_wish wish = {.mode = LIMITS_ENFORCED, .compute = LIMITS_COMPUTE_ELASTIC};

    first.compute = LIMITS_COMPUTE_STRICT;
    start();
    assert_int_equal(enforcement_compute(enforcement), LIMITS_COMPUTE_STRICT);
    enforcement_set_wish(enforcement, &wish);
    assert_int_equal(n_changes, 1);
    assert_int_equal(enforcement_compute(enforcement), LIMITS_COMPUTE_ELASTIC);
    end();
    start(); /* it is kept */
    assert_int_equal(enforcement_compute(enforcement), LIMITS_COMPUTE_ELASTIC);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(enforcement_switch(tempdir, true, NULL), 0);
    wait_changes(1);
    assert_int_equal(enforcement_compute(enforcement), LIMITS_COMPUTE_NONE);
    wish.compute = LIMITS_COMPUTE_OBSERVE; /* keeps nobody waiting */
    enforcement_set_wish(enforcement, &wish);
    assert_int_equal(enforcement_compute(enforcement), LIMITS_COMPUTE_OBSERVE);
}

/* The wish of an agent that knows no turns. */
static void test_a_wish_without_turns_gives_none(void **state)
{
    assert_int_equal(file_write_atomic(tempdir_path(ENFORCEMENT_WISH),
                                       "mode enforced\novercommits false\n", 32, 0644, NULL),
                     0);
    first.compute = LIMITS_COMPUTE_ELASTIC;
    start();
    assert_int_equal(enforcement_mode(enforcement), LIMITS_ENFORCED);
    assert_int_equal(enforcement_compute(enforcement), LIMITS_COMPUTE_NONE);
}

static void test_an_arbiter_that_starts_switched_off(void **state)
{
    assert_int_equal(enforcement_switch(tempdir, true, NULL), 0);
    start();
    enforcement_set_wish(enforcement, &enforced);
    assert_true(enforcement_is_off(enforcement));
    assert_int_equal(enforcement_mode(enforcement), LIMITS_NONE);
}

/* The agent makes the folder; it may be the later of the two. */
static void test_a_folder_that_comes_later(void **state)
{
    char folder[128];
    struct error err = ERROR_INIT;

    snprintf(folder, sizeof(folder), "%s/later", tempdir);
    n_changes = 0;
    if (enforcement_new(&loop, folder, &first, on_changed, NULL, &enforcement, &err) < 0)
        fail_msg("%s", error_text(&err));
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(enforcement_switch(folder, true, NULL), 0); /* makes it */
    wait_changes(1);
    assert_true(enforcement_is_off(enforcement));
}

static void test_a_wish_that_is_none_is_none(void **state)
{
    struct enforcement_files files;
    struct error err = ERROR_INIT;

    assert_int_equal(file_write_atomic(tempdir_path(ENFORCEMENT_WISH), "mode lax\n", 9, 0644, NULL),
                     0);
    assert_int_equal(enforcement_read(tempdir, &files, &err), -EBADMSG);
    assert_non_null(strstr(error_text(&err), "memory-mode: mode should be none, observe or"));
    start();
    assert_int_equal(enforcement_mode(enforcement), LIMITS_NONE);
    enforcement_set_wish(enforcement, &observe);
    assert_int_equal(enforcement_read(tempdir, &files, &err), 0);
    assert_true(files.has_wish);
    assert_int_equal(files.wish.mode, LIMITS_OBSERVE);
}

static void test_switching_where_nothing_can_be_written(void **state)
{
    struct error err = ERROR_INIT;

    assert_int_equal(file_write_atomic(tempdir_path("file"), "", 0, 0644, NULL), 0);
    assert_true(enforcement_switch(tempdir_path("file"), true, &err) < 0);
    assert_non_null(strstr(error_text(&err), "file"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_before_any_agent_nothing_is_limited),
        TEST(test_the_first_mode_holds_until_there_is_a_wish),
        TEST(test_a_wish_outlives_the_agent_and_the_arbiter),
        TEST(test_switching_off_and_on),
        TEST(test_turns_are_switched_off_as_well),
        TEST(test_a_wish_without_turns_gives_none),
        TEST(test_an_arbiter_that_starts_switched_off),
        TEST(test_a_folder_that_comes_later),
        TEST(test_a_wish_that_is_none_is_none),
        TEST(test_switching_where_nothing_can_be_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
