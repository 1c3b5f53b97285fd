// SPDX-License-Identifier: Apache-2.0

/* Connections whose other end sends what takes long to close. */

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "proc/peersocket.h"
#include "proc/test-slow.h"

static void assert_ended(int fd)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};

    assert_true(poll(&wait, 1, SLOW_SOON_MS) == 1 && wait.revents & POLLHUP);
}

static void test_messages(void **state)
{
    char message[8];
    int ends[2];

    (void)state;
    assert_true(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) == 0);
    assert_true(peersocket_receive(ends[0], message, sizeof(message)) == -EAGAIN);
    assert_true(send(ends[1], "abc", 3, 0) == 3 && send(ends[1], "0123456789", 10, 0) == 10);
    assert_true(peersocket_receive(ends[0], message, sizeof(message)) == 3);
    assert_true(memcmp(message, "abc", 3) == 0);
    assert_true(peersocket_receive(ends[0], message, sizeof(message)) == 10);
    peersocket_close(ends[1]);
    assert_true(peersocket_receive(ends[0], message, sizeof(message)) == 0);
    peersocket_close(ends[0]);
}

/* first: what is sent before it. */
static void close_slow(const char *first, size_t size)
{
    const uint64_t begin_ms = clock_now_ms();
    char message[8];
    int ends[2], peer, slow = make_slow(&peer);

    assert_true(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) == 0);
    if (first)
        assert_true(send(ends[1], first, size, 0) == (ssize_t)size);
    send_along(ends[1], "abc", 3, slow);
    if (!first)
        assert_true(peersocket_receive(ends[0], message, sizeof(message)) == -EBADMSG);
    peersocket_close(ends[0]);
    assert_ended(ends[1]);
    assert_true(clock_now_ms() - begin_ms < SLOW_SOON_MS);
    close(ends[1]);
    close(peer);
}

static void test_descriptors(void **state)
{
    (void)state;
    close_slow(NULL, 0);
    close_slow("a", 1);
    close_slow("", 0);
}

static void test_stream(void **state)
{
    const uint64_t begin_ms = clock_now_ms();
    char space[8];
    int ends[2], peer, slow = make_slow(&peer);

    (void)state;
    assert_true(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    assert_true(peersocket_read(ends[0], space, sizeof(space)) == -EAGAIN);
    assert_true(send(ends[1], "0123456789", 10, 0) == 10);
    assert_true(peersocket_read(ends[0], space, sizeof(space)) == 8);
    assert_true(memcmp(space, "01234567", 8) == 0);
    send_along(ends[1], "abc", 3, slow);
    /* Where both are looked at at once, nothing of them is taken. */
    while (peersocket_read(ends[0], space, 2) == 2)
        ;
    assert_true(peersocket_read(ends[0], space, sizeof(space)) == -EBADMSG);
    peersocket_close(ends[0]);
    assert_ended(ends[1]);
    assert_true(clock_now_ms() - begin_ms < SLOW_SOON_MS);
    close(ends[1]);
    close(peer);

    assert_true(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    peersocket_close(ends[1]);
    assert_true(peersocket_read(ends[0], space, sizeof(space)) == 0);
    peersocket_close(ends[0]);
}

static void test_listener(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "\0gpuslice-test-peersocket"};
    const uint64_t begin_ms = clock_now_ms();
    const int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0);
    const int client = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    int peer, slow = make_slow(&peer);

    (void)state;
    assert_true(bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0);
    assert_true(listen(listener, 4) == 0);
    assert_true(connect(client, (struct sockaddr *)&address, sizeof(address)) == 0);
    send_along(client, "abc", 3, slow);
    peersocket_close_listener(listener);
    assert_ended(client);
    assert_true(clock_now_ms() - begin_ms < SLOW_SOON_MS);
    close(client);
    close(peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_descriptors),
        cmocka_unit_test(test_stream),
        cmocka_unit_test(test_listener),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
