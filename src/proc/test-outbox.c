// SPDX-License-Identifier: Apache-2.0
#include "proc/outbox.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { MAX_NOTICES = 3, LARGE = 1 << 20 };

static struct outbox outbox;
static int ours, theirs;
static char seen[256]; /* one letter for each frame that arrived */

static int set_up(void **state)
{
    int fds[2];

    (void)state;
    memset(&outbox, 0, sizeof(outbox));
    memset(seen, 0, sizeof(seen));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    ours = fds[0];
    theirs = fds[1];
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    outbox_deinit(&outbox);
    assert_true(outbox_is_empty(&outbox));
    assert_int_equal(outbox.n_bytes, 0);
    close(ours);
    close(theirs);
    return 0;
}

static int notify(const char *letter, uint16_t kind, bool newest)
{
    const struct proc_frame frame = {PROC_FRAME_NOTICE, kind, 0, letter, 1};

    return outbox_push_notice(&outbox, &frame, newest, MAX_NOTICES);
}

/* Sends all and notes the first letter of each body. */
static void deliver(void)
{
    struct proc_frame_reader reader = PROC_FRAME_READER_INIT(2 * LARGE);
    size_t n_seen = 0;

    for (;;) {
        size_t size;
        void *space = proc_frame_reader_space(&reader, &size);
        ssize_t n;
        int r;

        assert_int_equal(outbox_send(&outbox, ours, LARGE), 0);
        n = recv(theirs, space, size, MSG_DONTWAIT);
        if (n < 0)
            break;
        r = proc_frame_reader_commit(&reader, (size_t)n, NULL);
        if (r != PROC_FRAME_COMPLETE)
            continue;
        seen[n_seen++] = reader.frame.size ? *(const char *)reader.frame.body : '!';
        proc_frame_reader_next(&reader);
    }
    proc_frame_reader_deinit(&reader);
    assert_true(outbox_is_empty(&outbox));
}

static void frames_keep_their_order(void **state)
{
    const struct proc_frame request = {PROC_FRAME_REQUEST, 1, 1, "b", 1};

    (void)state;
    assert_int_equal(notify("a", 1, false), 0);
    assert_int_equal(outbox_push(&outbox, &request), 0);
    assert_int_equal(notify("c", 1, false), 0);
    deliver();
    assert_string_equal(seen, "abc");
    assert_int_equal(outbox.n_dropped, 0);
}

static void a_ping_goes_first(void **state)
{
    (void)state;
    notify("a", 1, false);
    assert_int_equal(outbox_push(&outbox, &(struct proc_frame){.type = PROC_FRAME_PING}), 0);
    deliver();
    assert_string_equal(seen, "!a");
}

static void of_a_state_the_newest_is_kept(void **state)
{
    (void)state;
    notify("a", 1, true);
    notify("b", 2, true);
    notify("c", 1, true);
    notify("d", 1, false);
    deliver();
    assert_string_equal(seen, "bcd");
    assert_int_equal(outbox.n_dropped, 0);
}

static void the_oldest_gives_way(void **state)
{
    (void)state;
    notify("s", 9, true);
    for (const char *letter = "abcde"; *letter; letter++)
        assert_int_equal(notify(letter, 1, false), 0);
    deliver();
    assert_string_equal(seen, "sde");
    assert_int_equal(outbox.n_dropped, 3);
}

static void a_state_gives_way_to_nothing(void **state)
{
    (void)state;
    notify("a", 1, true);
    notify("b", 2, true);
    notify("c", 3, true);
    assert_int_equal(notify("d", 4, false), -ENOBUFS);
    assert_int_equal(outbox.n_dropped, 1);
    assert_int_equal(notify("e", 2, true), 0);
    deliver();
    assert_string_equal(seen, "ace");
}

/* Half of it may be at the peer's already. */
static void a_frame_under_way_stays(void **state)
{
    static char large[LARGE];
    const struct proc_frame frame = {PROC_FRAME_NOTICE, 1, 0, large, sizeof(large)};

    (void)state;
    memset(large, 'L', sizeof(large));
    assert_int_equal(outbox_push_notice(&outbox, &frame, true, MAX_NOTICES), 0);
    assert_int_equal(outbox_send(&outbox, ours, LARGE), 0);
    assert_false(outbox_is_empty(&outbox));
    notify("n", 1, true); /* of the same kind */
    outbox_push(&outbox, &(struct proc_frame){.type = PROC_FRAME_PONG});
    deliver();
    assert_string_equal(seen, "L!n");
}

static void a_peer_that_is_gone_is_an_error_and_no_signal(void **state)
{
    (void)state;
    notify("a", 1, false);
    close(theirs);
    assert_int_equal(outbox_send(&outbox, ours, LARGE), -EPIPE);
    theirs = dup(ours);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(frames_keep_their_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_ping_goes_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(of_a_state_the_newest_is_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_oldest_gives_way, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_state_gives_way_to_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_frame_under_way_stays, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_peer_that_is_gone_is_an_error_and_no_signal, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests_name("proc/outbox", tests, NULL, NULL);
}
