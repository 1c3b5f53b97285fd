// SPDX-License-Identifier: Apache-2.0

/* Connections whose processes send nothing: how many there may be, and how the others are refused.
 */

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "arbiter/limitsessions.h"
#include "arbiter/test-limitsanswer.h"
#include "base/array.h"
#include "base/log.h"
#include "grant/grant.h"

#define GRANT   "0123456789abcdef"
#define ANOTHER "fedcba9876543210"

static uv_loop_t loop;
static struct limitsessions *sessions;

static int set_up(void **state)
{
    static const struct arbiteroptions options;
    const struct limitsession_setup setup = {.loop = &loop, .options = &options};

    if (uv_loop_init(&loop) < 0)
        return -1;
    sessions = limitsessions_new(&setup);
    limitsessions_set_mode(sessions, LIMITS_ENFORCED);
    return sessions ? 0 : -1;
}

static int tear_down(void **state)
{
    limitsessions_free(sessions);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop) == 0 ? 0 : -1;
}

/* Returns the process's end. */
static int connect_to(const char *grant, bool is_of_command)
{
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends),
                     0);
    limitsessions_accept(sessions, ends[1], grant, is_of_command);
    return ends[0];
}

static void assert_disconnected(int fd)
{
    char byte;

    assert_int_equal(recv(fd, &byte, sizeof(byte), MSG_DONTWAIT), 0);
}

static void assert_refused(int fd, const char *text)
{
    struct limits_answer answer;
    int page;

    assert_true(limitsanswer_receive(fd, &answer, &page));
    assert_int_equal(page, -1);
    assert_int_equal(answer.kind, LIMITS_REFUSED);
    assert_int_equal(answer.mode, LIMITS_ENFORCED);
    assert_string_equal(answer.text, text);
    assert_disconnected(fd);
}

static void close_all(const int *fds, size_t n)
{
    for (size_t i = 0; i < n; i++)
        close(fds[i]);
}

static void test_a_grant_has_so_many_connections(void **state)
{
    int fds[LIMITSESSIONS_OF_GRANT], more;

    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        fds[i] = connect_to(GRANT, false);
    more = connect_to(GRANT, false);
    assert_refused(more, "too many connections of this grant");
    close(more);
    assert_int_equal(limitsessions_count(sessions).n_refused, 1);
    more = connect_to(ANOTHER, false); /* another grant's are its own */
    assert_int_equal(limitsessions_count(sessions).n_connections, ARRAY_SIZE(fds) + 1);
    close(more);
    close_all(fds, ARRAY_SIZE(fds));
}

/* However many grants commands have. */
static void test_commands_leave_connections_to_pods(void **state)
{
    static int fds[LIMITSESSIONS_OF_COMMANDS];
    int more;

    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        char grant[GRANT_ID_SIZE];

        snprintf(grant, sizeof(grant), "%016zx", i / LIMITSESSIONS_OF_GRANT);
        fds[i] = connect_to(grant, true);
    }
    more = connect_to("00000000000000ff", true);
    assert_refused(more, "too many connections of commands");
    close(more);
    more = connect_to(GRANT, false);
    assert_int_equal(limitsessions_count(sessions).n_connections, ARRAY_SIZE(fds) + 1);
    close(more);
    close_all(fds, ARRAY_SIZE(fds));
}

static void test_who_leaves_makes_room(void **state)
{
    int fds[LIMITSESSIONS_OF_GRANT], more;

    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        fds[i] = connect_to(GRANT, false);
    close(fds[0]);
    while (limitsessions_count(sessions).n_connections == ARRAY_SIZE(fds))
        uv_run(&loop, UV_RUN_ONCE);
    more = connect_to(GRANT, false);
    assert_int_equal(limitsessions_count(sessions).n_connections, ARRAY_SIZE(fds));
    assert_int_equal(limitsessions_count(sessions).n_refused, 0);
    close(more);
    close_all(fds + 1, ARRAY_SIZE(fds) - 1);
}

/* Who has just connected has time to register. */
static void test_nobody_is_swept_at_once(void **state)
{
    const int fd = connect_to(GRANT, false);

    limitsessions_sweep(sessions);
    assert_int_equal(limitsessions_count(sessions).n_connections, 1);
    close(fd);
}

static void test_the_end_disconnects_all(void **state)
{
    const int fds[] = {connect_to(GRANT, false), connect_to(ANOTHER, true)};

    limitsessions_free(sessions);
    sessions = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        assert_disconnected(fds[i]);
    close_all(fds, ARRAY_SIZE(fds));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_a_grant_has_so_many_connections), TEST(test_commands_leave_connections_to_pods),
        TEST(test_who_leaves_makes_room),           TEST(test_nobody_is_swept_at_once),
        TEST(test_the_end_disconnects_all),
    };

    log_setup_by_name("error", "logfmt");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
