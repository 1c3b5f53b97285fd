// SPDX-License-Identifier: Apache-2.0
#include "http/clients.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static void open_pair(int fds[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
}

static void close_pair(const int fds[2])
{
    close(fds[0]);
    close(fds[1]);
}

/* The client reads its end of the stream. */
static bool is_shut_down(const int fds[2])
{
    char byte;

    return read(fds[1], &byte, 1) == 0;
}

static void who_is_late_is_shut_down(void **state)
{
    static struct clients clients;
    struct client *first, *second;
    int a[2], b[2];

    assert_int_equal(clients_end_late(&clients, 1), -1);
    open_pair(a);
    open_pair(b);
    first = clients_add(&clients, a[0], 100);
    second = clients_add(&clients, b[0], 50);
    assert_int_equal(clients_end_late(&clients, 10), 40);
    second->due_ms = 200; /* its request is over, the next one begins */
    assert_int_equal(clients_end_late(&clients, 99), 1);
    assert_false(is_shut_down(a));
    assert_int_equal(clients_end_late(&clients, 100), 100);
    assert_true(is_shut_down(a));
    assert_false(is_shut_down(b));
    client_remove(first);
    client_remove(second);
    assert_int_equal(clients_end_late(&clients, 1000), -1);
    assert_false(is_shut_down(b));
    close_pair(a);
    close_pair(b);
}

/* Until its socket is closed it has its place, and is nothing to wait for. */
static void once_shut_down_it_is_not_awaited(void **state)
{
    static struct clients clients;
    struct client *client;
    int a[2];

    open_pair(a);
    client = clients_add(&clients, a[0], 5);
    assert_int_equal(clients_end_late(&clients, 5), -1);
    assert_ptr_not_equal(clients_add(&clients, a[0], 7), client);
    close_pair(a);
}

static void there_is_room_for_so_many(void **state)
{
    static struct clients clients;
    struct client *last = NULL;

    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        last = clients_add(&clients, 0, 1);
        assert_non_null(last);
    }
    assert_null(clients_add(&clients, 0, 1));
    client_remove(last);
    assert_ptr_equal(clients_add(&clients, 0, 1), last);
    client_remove(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_late_is_shut_down),
        cmocka_unit_test(once_shut_down_it_is_not_awaited),
        cmocka_unit_test(there_is_room_for_so_many),
    };

    return cmocka_run_group_tests_name("http/clients", tests, NULL, NULL);
}
