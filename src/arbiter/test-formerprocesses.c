// SPDX-License-Identifier: Apache-2.0

/* Who has the library is known to the next arbiter, and the number of a process that ended is
 * nobody's. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "arbiter/formerprocesses.h"
#include "base/file.h"
#include "grant/test-tempdir.h"

/* As in /proc/PID/stat, whose 22nd field it is. */
static void start_process(uint32_t pid, unsigned start)
{
    char path[96], text[128];

    snprintf(path, sizeof(path), "proc/%u", pid);
    assert_int_equal(file_make_directory(tempdir_path("proc"), NULL), 0);
    assert_int_equal(file_make_directory(tempdir_path(path), NULL), 0);
    snprintf(path, sizeof(path), "proc/%u/stat", pid);
    snprintf(text, sizeof(text), "%u (python) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 %u 0 0\n",
             pid, start);
    assert_int_equal(file_write_atomic(tempdir_path(path), text, strlen(text), 0644, NULL), 0);
}

static struct formerprocesses load(void)
{
    struct formerprocesses former = FORMERPROCESSES_INIT;

    formerprocesses_load(&former, tempdir, tempdir);
    return former;
}

/* What an arbiter leaves that met these two. */
static void leave(uint32_t first, uint32_t second)
{
    cleanup_formerprocesses struct formerprocesses former = load();

    formerprocesses_meet(&former, first, false);
    formerprocesses_meet(&former, second, true);
    assert_false(formerprocesses_has(&former, first));
    assert_false(formerprocesses_takes_turns(&former, second));
    assert_int_equal(formerprocesses_store(&former, NULL), 0);
}

static void test_who_was_registered_before(void **state)
{
    start_process(10, 1000);
    start_process(11, 1100);
    start_process(12, 1200);
    leave(10, 11);
    {
        cleanup_formerprocesses struct formerprocesses former = load();

        assert_true(formerprocesses_has(&former, 10));
        assert_true(formerprocesses_has(&former, 11));
        assert_false(formerprocesses_has(&former, 12));
        assert_false(formerprocesses_takes_turns(&former, 10));
        assert_true(formerprocesses_takes_turns(&former, 11));
        formerprocesses_meet(&former, 11, true); /* whatever it does from now on */
        assert_false(formerprocesses_has(&former, 11));
        assert_false(formerprocesses_takes_turns(&former, 11));
        formerprocesses_meet(&former, 12, true);
        formerprocesses_meet(&former, 12, false); /* it was refused meanwhile */
        assert_int_equal(formerprocesses_store(&former, NULL), 0);
    }
    {
        cleanup_formerprocesses struct formerprocesses former = load();

        assert_int_equal(former.n, 3);
        assert_true(formerprocesses_has(&former, 10)); /* by two arbiters */
        assert_false(formerprocesses_takes_turns(&former, 10));
        assert_true(formerprocesses_takes_turns(&former, 11));
        assert_false(formerprocesses_takes_turns(&former, 12));
    }
}

static void test_a_number_that_is_used_again(void **state)
{
    start_process(10, 1000);
    start_process(11, 1100);
    leave(10, 11);
    start_process(10, 5000);
    {
        cleanup_formerprocesses struct formerprocesses former = load();

        assert_false(formerprocesses_has(&former, 10));
        assert_int_equal(former.n, 1);
        start_process(11, 5100); /* meanwhile */
        assert_false(formerprocesses_has(&former, 11));
        assert_false(formerprocesses_takes_turns(&former, 11));
        formerprocesses_meet(&former, 10, false);
        assert_int_equal(formerprocesses_store(&former, NULL), 0);
        assert_int_equal(former.n, 1);
    }
}

static void test_a_file_that_is_not_understood(void **state)
{
    static const char *const texts[] = {"",
                                        "10\n",
                                        "10 1000",
                                        "-1 1000\n",
                                        "x 1000\n",
                                        "4294967306 1000\n",
                                        "10 1000 ",
                                        "10 1000 turns",
                                        "10 1000 turn\n",
                                        "10 1000turns\n"};

    start_process(10, 1000);
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        assert_int_equal(file_write_atomic(tempdir_path(FORMERPROCESSES_NAME), texts[i],
                                           strlen(texts[i]), 0600, NULL),
                         0);
        cleanup_formerprocesses struct formerprocesses former = load();

        assert_int_equal(former.n, 0);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tempdir_make, tempdir_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_who_was_registered_before),
        TEST(test_a_number_that_is_used_again),
        TEST(test_a_file_that_is_not_understood),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
