// SPDX-License-Identifier: Apache-2.0
#include "kube/writer.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* A server that stores one number, and responds on demand. */
static struct server {
    int wanted, has;
    bool forgets; /* takes what is written and does not keep it */
    kube_done_fn *on_done;
    void *userdata;
    int sent;
    unsigned n_sent, n_changes;
    int fails; /* of sending */
} server;

static uv_loop_t loop;
static struct writer writer;

static int send_number(void *userdata, kube_done_fn *on_done, void *done_userdata,
                       struct kube_call **ret_call, struct error *err)
{
    if (server.fails)
        return error_set(err, -EACCES, "no token");
    if (server.wanted == server.has)
        return WRITER_IDLE;
    server.on_done = on_done;
    server.userdata = done_userdata;
    server.sent = server.wanted;
    server.n_sent++;
    *ret_call = (struct kube_call *)(uintptr_t)&server;
    return 0;
}

static void answer(unsigned status)
{
    const struct kube_response response = {.http_status = status, .body = "", .reason = "why"};

    assert_non_null(writer.call);
    if (status == 200 && !server.forgets)
        server.has = server.sent;
    server.on_done(&response, server.userdata);
}

static void on_change(void *userdata)
{
    server.n_changes++;
}

static int set_up(void **state)
{
    static const struct writer_job job = {
        .what = "number", .remedy = "let us", .send = send_number};

    server = (struct server){.wanted = 0};
    uv_loop_init(&loop);
    writer_init(&writer, &loop, &job, on_change, NULL, NULL);
    return 0;
}

static int tear_down(void **state)
{
    writer.call = NULL; /* the server's, not to be cancelled */
    writer_deinit(&writer);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop);
}

static void is_idle_when_nothing_is_to_be_written(void **state)
{
    writer_sync(&writer);
    assert_true(writer.idle);
    assert_int_equal(server.n_sent, 0);
    assert_int_equal(server.n_changes, 1);
    writer_sync(&writer);
    assert_int_equal(server.n_changes, 1);
}

static void a_newer_wish_supersedes(void **state)
{
    server.wanted = 1;
    writer_sync(&writer);
    assert_false(writer.idle);
    for (server.wanted = 2; server.wanted < 9; server.wanted++)
        writer_sync(&writer);
    assert_int_equal(server.n_sent, 1); /* one at a time */
    answer(200);
    assert_int_equal(server.n_sent, 2);
    answer(200);
    assert_int_equal(server.has, 9);
    assert_int_equal(server.n_sent, 2);
    assert_true(writer.idle);
}

static void a_failure_is_waited_out(void **state)
{
    server.wanted = 1;
    writer_sync(&writer);
    answer(503);
    assert_true(writer.is_failing);
    for (int i = 0; i < 100; i++)
        writer_sync(&writer);
    assert_int_equal(server.n_sent, 1);
    assert_true(uv_is_active((uv_handle_t *)&writer.timer));
    writer_kick(&writer); /* the server is reachable again */
    assert_int_equal(server.n_sent, 2);
    answer(200);
    assert_true(writer.idle);
    assert_false(writer.is_failing);
    assert_false(uv_is_active((uv_handle_t *)&writer.timer));
}

static void the_timer_tries_again(void **state)
{
    server.fails = 1;
    server.wanted = 1;
    writer_sync(&writer);
    assert_true(writer.is_failing);
    server.fails = 0;
    while (server.n_sent == 0)
        uv_run(&loop, UV_RUN_ONCE);
    answer(200);
    assert_true(writer.idle);
}

static void a_conflict_is_no_failure(void **state)
{
    server.wanted = 1;
    writer_sync(&writer);
    answer(409);
    assert_false(writer.is_failing);
    writer_sync(&writer); /* the newer object is here */
    assert_int_equal(server.n_sent, 2);
    while (writer.call && server.n_sent < 100) {
        answer(422);
        writer_sync(&writer);
    }
    assert_in_range(server.n_sent, 3, 20); /* so many are */
    assert_true(writer.is_failing);
}

static void writing_in_vain_ends(void **state)
{
    server.wanted = 1;
    server.forgets = true;
    writer_sync(&writer);
    for (int i = 0; i < 100 && writer.call; i++)
        answer(200);
    assert_in_range(server.n_sent, 2, 20);
    assert_true(uv_is_active((uv_handle_t *)&writer.timer));
    assert_true(writer.is_failing);
}

/* What a conflict allowed once, at once to look again, does not outlast it. */
static void a_failure_after_a_conflict_is_waited_out(void **state)
{
    server.wanted = 1;
    server.forgets = true;
    writer_sync(&writer);
    answer(409);
    writer_sync(&writer);
    for (int i = 0; i < 100 && writer.call; i++)
        answer(200);
    server.n_sent = 0;
    writer_sync(&writer);
    assert_int_equal(server.n_sent, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(is_idle_when_nothing_is_to_be_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_newer_wish_supersedes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_failure_is_waited_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_timer_tries_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_conflict_is_no_failure, set_up, tear_down),
        cmocka_unit_test_setup_teardown(writing_in_vain_ends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_failure_after_a_conflict_is_waited_out, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests_name("kube/writer", tests, NULL, NULL);
}
