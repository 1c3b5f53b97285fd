// SPDX-License-Identifier: Apache-2.0
#include "node/child.h"

#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/text.h"

/* The program that runs beside the test is the test itself, with one of these as its argument. */

static int echo(void)
{
    char bytes[256];
    ssize_t n;

    while ((n = read(CHILD_FD, bytes, sizeof(bytes))) > 0)
        if (write(CHILD_FD, bytes, (size_t)n) != n)
            return 1;
    return 0;
}

static int tell_last_argument(int argc, char *argv[])
{
    const char *last = argv[argc - 1];

    return write(CHILD_FD, last, strlen(last)) < 0;
}

static int be_deaf(void)
{
    pause();
    return 0;
}

/* What came of it. */
static struct {
    struct child *child;
    unsigned n_started, n_written, n_ended;
    int written_status;
    char said[256];
    struct {
        unsigned n_ended;
        char said[256];
        bool has_spoken; /* the program that just started */
    } before;            /* the last start: a quick program is heard right behind it */
    uv_loop_t loop;
} heard;

static void on_started(void *userdata)
{
    heard.n_started++;
    heard.before.n_ended = heard.n_ended;
    heard.before.has_spoken = heard.child && child_has_spoken(heard.child);
    memcpy(heard.before.said, heard.said, sizeof(heard.said));
    uv_stop(&heard.loop);
}

static void on_said(const char *bytes, size_t n, void *userdata)
{
    assert_in_range(strlen(heard.said) + n, 0, sizeof(heard.said) - 1);
    strncat(heard.said, bytes, n);
    uv_stop(&heard.loop);
}

static void on_written(int status, void *userdata)
{
    heard.n_written++;
    heard.written_status = status;
}

static void on_ended(void *userdata)
{
    heard.n_ended++;
    uv_stop(&heard.loop);
}

static int set_up(void **state)
{
    memset(&heard, 0, sizeof(heard));
    alarm(30); /* what should come and does not */
    return uv_loop_init(&heard.loop);
}

static int tear_down(void **state)
{
    child_free(heard.child);
    uv_run(&heard.loop, UV_RUN_DEFAULT); /* ends: no handle is left */
    return uv_loop_close(&heard.loop);
}

static void start(const char *argument)
{
    static const struct child_callbacks callbacks = {on_started, on_said, on_written, on_ended};
    struct child_options options = {
        .title = "the test's program", .arguments = {argument}, .again = "again"};
    char self[PATH_MAX] = "";

    assert_true(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
    options.program = strrchr(self, '/') + 1;
    assert_int_equal(child_new(&heard.loop, &options, &callbacks, NULL, &heard.child, NULL), 0);
}

static void write_text(const char *text)
{
    assert_int_equal(child_write(heard.child, strdup(text), strlen(text)), 0);
}

static void speaks_both_ways(void **state)
{
    start("echo");
    assert_false(child_is_open(heard.child));
    assert_int_equal(child_write(heard.child, strdup("too early"), 9), -EPIPE);
    while (!heard.n_started)
        uv_run(&heard.loop, UV_RUN_DEFAULT);
    assert_false(child_has_spoken(heard.child));
    write_text("ping ");
    write_text("pong");
    while (strcmp(heard.said, "ping pong") != 0)
        uv_run(&heard.loop, UV_RUN_DEFAULT);
    assert_true(child_is_open(heard.child));
    assert_true(child_has_spoken(heard.child));
    assert_int_equal(heard.n_written, 2);
    assert_int_equal(heard.written_status, 0);
}

static void is_started_again(void **state)
{
    start("tell");
    while (heard.n_started < 3)
        uv_run(&heard.loop, UV_RUN_DEFAULT);
    assert_int_equal(heard.before.n_ended, 2);
    assert_string_equal(heard.before.said, "tellagain");
    assert_false(heard.before.has_spoken);
}

static void may_be_let_end(void **state)
{
    start("tell");
    while (!heard.n_started)
        uv_run(&heard.loop, UV_RUN_DEFAULT);
    child_let_end(heard.child);
    while (!heard.n_ended)
        uv_run(&heard.loop, UV_RUN_DEFAULT);
    uv_run(&heard.loop, UV_RUN_DEFAULT); /* ends: nothing is awaited any more */
    assert_int_equal(heard.n_started, 1);
    assert_false(child_is_open(heard.child));
}

static void nothing_is_heard_once_it_is_freed(void **state)
{
    const size_t size = 8 << 20; /* more than any socket takes */

    start("deaf");
    while (!heard.n_started)
        uv_run(&heard.loop, UV_RUN_DEFAULT);
    assert_int_equal(child_write(heard.child, calloc(1, size), size), 0);
    uv_run(&heard.loop, UV_RUN_NOWAIT);
    child_free(heard.child);
    heard.child = NULL;
    uv_run(&heard.loop, UV_RUN_DEFAULT); /* a program that does not end by itself is killed */
    assert_int_equal(heard.n_written, 0);
    assert_int_equal(heard.n_ended, 0);
}

int main(int argc, char *argv[])
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(speaks_both_ways, set_up, tear_down),
        cmocka_unit_test_setup_teardown(is_started_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(may_be_let_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_is_heard_once_it_is_freed, set_up, tear_down),
    };

    if (argc > 1 && str_equal(argv[1], "echo"))
        return echo();
    if (argc > 1 && str_equal(argv[1], "tell"))
        return tell_last_argument(argc, argv);
    if (argc > 1 && str_equal(argv[1], "deaf"))
        return be_deaf();
    log_setup(LOG_ERROR, LOG_LOGFMT);
    return cmocka_run_group_tests_name("node/child", tests, NULL, NULL);
}
