// SPDX-License-Identifier: Apache-2.0
#include "rpc/server.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/array.h"

/*
 * The server tested through raw sockets: access control, the socket file, and misbehaving peers.
 * test-client.c has the ordinary calls.
 */

enum { GIVE_UP_MS = 10000, BUFFER_BYTES = 1 << 16 };

struct world {
    uv_loop_t loop;
    uv_timer_t give_up;
    char folder[64], path[96];
    struct rpc_server *server;
    struct rpc_call *kept;
    unsigned handled, gone;
};

static void on_gone(struct rpc_call *call, void *data)
{
    struct world *world = data;

    (void)call;
    world->gone++;
    world->kept = NULL;
}

static void hold(struct rpc_call *call, const void *request, size_t size, void *userdata)
{
    struct world *world = userdata;

    world->handled++;
    world->kept = call;
    rpc_call_keep(call, world, on_gone);
}

static const struct rpc_method methods[] = {{"/a/W", hold}};

static void give_up(uv_timer_t *timer)
{
    fail_msg("waited %d ms in vain", GIVE_UP_MS);
}

#define UNTIL(world, condition)                  \
    do {                                         \
        while (!(condition))                     \
            uv_run(&(world)->loop, UV_RUN_ONCE); \
    } while (0)

static int try_to_serve(struct world *world, const struct rpc_limits *limits, struct error *err)
{
    return rpc_server_new(&world->loop, world->path,
                          &(struct rpc_service){.methods = methods,
                                                .n_methods = ARRAY_SIZE(methods),
                                                .limits = limits,
                                                .userdata = world},
                          &world->server, err);
}

static void serve(struct world *world, const struct rpc_limits *limits)
{
    struct error err = ERROR_INIT;

    if (try_to_serve(world, limits, &err) < 0)
        fail_msg("%s", err.message);
}

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    snprintf(world->folder, sizeof(world->folder), "/tmp/gpuslice-rpc-XXXXXX");
    assert_non_null(mkdtemp(world->folder));
    assert_int_equal(chmod(world->folder, 0755), 0);
    snprintf(world->path, sizeof(world->path), "%s/test.sock", world->folder);
    uv_loop_init(&world->loop);
    uv_timer_init(&world->loop, &world->give_up);
    uv_timer_start(&world->give_up, give_up, GIVE_UP_MS, 0);
    uv_unref((uv_handle_t *)&world->give_up);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    rpc_server_free(world->server);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&world->give_up, NULL);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&world->loop), 0);
    assert_int_equal(rmdir(world->folder), 0);
    free(world);
    return 0;
}

/* ---- a raw peer ---- */

static int dial(const struct world *world)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", world->path);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void send_bytes(int fd, const void *bytes, size_t size)
{
    assert_int_equal(send(fd, bytes, size, MSG_NOSIGNAL), size);
}

#define SEND(fd, literal) send_bytes(fd, literal, sizeof(literal) - 1)

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define HELLO   PREFACE "\0\0\0\4\0\0\0\0\0"
/* A window of 0 for streams. */
#define HELLO_SHUT PREFACE "\0\0\6\4\0\0\0\0\0\0\4\0\0\0\0"
/* HEADERS of stream 1: POST, http, /a/W, application/grpc */
#define WATCH                                          \
    "\0\0\x1b\1\4\0\0\0\1\x83\x86\4\4/a/W\x0f\x10\x10" \
    "application/grpc"
#define WHOLE "\0\0\5\0\1\0\0\0\1\0\0\0\0\0" /* DATA: an empty message, END_STREAM */
#define TORN  "\0\0\7\0\0\0\0\0\1\0\0\0\0\x09hi"

struct received {
    uint8_t bytes[BUFFER_BYTES];
    size_t size;
    bool ended;
};

static void receive_from(int fd, struct received *received)
{
    ssize_t n =
        recv(fd, received->bytes + received->size, sizeof(received->bytes) - received->size, 0);

    if (n > 0)
        received->size += (size_t)n;
    received->ended = n == 0 || (n < 0 && errno != EAGAIN);
}

/* The nth received frame of a type, or NULL. */
static const uint8_t *find_frame(const struct received *received, uint8_t type, unsigned nth)
{
    const uint8_t *p = received->bytes;

    while (p + 9 <= received->bytes + received->size) {
        size_t length = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];

        if (p[3] == type && nth-- == 0)
            return p;
        p += 9 + length;
    }
    return NULL;
}

enum { PING = 6, GOAWAY = 7 };

static void expect_end(struct world *world, int fd)
{
    struct received received = {.size = 0};

    while (!received.ended) {
        uv_run(&world->loop, UV_RUN_NOWAIT);
        received.size = 0;
        receive_from(fd, &received);
    }
    close(fd);
}

/* ---- the socket file ---- */

static void test_socket_file(void **state)
{
    struct world *world = *state;
    struct stat made;

    serve(world, NULL);
    assert_int_equal(lstat(world->path, &made), 0);
    assert_true(S_ISSOCK(made.st_mode));
    assert_int_equal(made.st_mode & 07777, 0600);
    assert_true(rpc_server_socket_is_ours(world->server));
    rpc_server_free(world->server);
    world->server = NULL;
    assert_int_equal(access(world->path, F_OK), -1);
}

static void test_another_server_s_socket_stays(void **state)
{
    struct world *world = *state;
    struct rpc_server *first;

    serve(world, NULL);
    first = world->server;
    serve(world, NULL);
    assert_false(rpc_server_socket_is_ours(first));
    assert_true(rpc_server_socket_is_ours(world->server));
    rpc_server_free(first);
    assert_true(rpc_server_socket_is_ours(world->server));
}

static void test_removed_socket_is_noticed(void **state)
{
    struct world *world = *state;

    serve(world, NULL);
    unlink(world->path);
    assert_false(rpc_server_socket_is_ours(world->server));
}

static void test_a_file_in_the_way_is_kept(void **state)
{
    struct world *world = *state;
    struct error err = ERROR_INIT;
    int fd = open(world->path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);

    close(fd);
    assert_int_equal(try_to_serve(world, NULL, &err), -EEXIST);
    assert_non_null(strstr(err.message, "not a socket"));
    assert_null(world->server);
    assert_int_equal(unlink(world->path), 0);
}

static void test_unusable_paths(void **state)
{
    struct world *world = *state;
    struct error err = ERROR_INIT;
    char path[200];

    memset(path, 'x', sizeof(path));
    path[0] = '/';
    path[150] = '\0';
    assert_int_equal(rpc_server_new(&world->loop, path,
                                    &(struct rpc_service){.methods = methods, .n_methods = 1},
                                    &world->server, &err),
                     -ENAMETOOLONG);
    assert_int_equal(rpc_server_new(&world->loop, "/nowhere/at/all.sock",
                                    &(struct rpc_service){.methods = methods, .n_methods = 1},
                                    &world->server, &err),
                     -ENOENT);
    assert_non_null(strstr(err.message, "/nowhere/at/all.sock"));
}

/* ---- access control ---- */

/* A process of another user connects: true if it was accepted (it gets SETTINGS). */
static bool foreign_user_connects(struct world *world)
{
    int status = -1;
    pid_t pid;

    assert_int_equal(chmod(world->path, 0666), 0);
    pid = fork();
    if (pid == 0) {
        char byte;
        int fd;

        if (setresuid(65534, 65534, 65534) < 0)
            _exit(2);
        fd = dial(world);
        fcntl(fd, F_SETFL, 0);
        _exit(recv(fd, &byte, 1, 0) == 1 ? 0 : 1);
    }
    while (waitpid(pid, &status, WNOHANG) == 0)
        uv_run(&world->loop, UV_RUN_NOWAIT);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 2);
    return WEXITSTATUS(status) == 0;
}

static void test_other_users(void **state)
{
    struct world *world = *state;
    struct rpc_limits limits = RPC_LIMITS_DEFAULT;

    if (geteuid() != 0)
        skip();
    serve(world, &limits);
    assert_false(foreign_user_connects(world));
    limits.allowed_uid = 65534;
    rpc_server_free(world->server);
    serve(world, &limits);
    assert_true(foreign_user_connects(world));
}

static void test_too_many_connections(void **state)
{
    struct world *world = *state;
    struct rpc_limits limits = RPC_LIMITS_DEFAULT;
    struct received received = {.size = 0};
    int first, second, third;

    limits.connections = 2;
    serve(world, &limits);
    first = dial(world);
    second = dial(world);
    third = dial(world);
    expect_end(world, third);
    SEND(second, HELLO WATCH WHOLE);
    UNTIL(world, world->handled == 1);
    close(first);
    close(second);
    UNTIL(world, world->gone == 1);
    /* Their slots are free again. */
    third = dial(world);
    while (!received.size) {
        uv_run(&world->loop, UV_RUN_NOWAIT);
        receive_from(third, &received);
    }
    assert_int_equal(rpc_server_counters(world->server)->connections, 4);
    close(third);
}

static void test_silent_peer_is_closed(void **state)
{
    struct world *world = *state;
    struct rpc_limits limits = RPC_LIMITS_DEFAULT;
    int silent, half;

    limits.first_frame_ms = 50;
    serve(world, &limits);
    silent = dial(world);
    half = dial(world);
    SEND(half, PREFACE);
    expect_end(world, silent);
    expect_end(world, half);
}

/* Without free descriptors waiting clients are rejected, and the loop does not spin. */
static void test_out_of_descriptors(void **state)
{
    struct world *world = *state;
    struct rlimit old, few;
    int peer, later;

    serve(world, NULL);
    getrlimit(RLIMIT_NOFILE, &old);
    peer = dial(world);
    few = old;
    few.rlim_cur = (rlim_t)peer + 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    expect_end(world, peer);
    setrlimit(RLIMIT_NOFILE, &old);
    later = dial(world);
    SEND(later, HELLO WATCH WHOLE);
    UNTIL(world, world->handled == 1);
    close(later);
    UNTIL(world, world->gone == 1);
}

/* ---- peer behaviour ---- */

static void test_torn_request_runs_nothing(void **state)
{
    struct world *world = *state;
    int fd;

    serve(world, NULL);
    fd = dial(world);
    SEND(fd, HELLO WATCH TORN);
    UNTIL(world, rpc_server_counters(world->server)->calls == 1);
    close(fd);
    UNTIL(world, rpc_server_counters(world->server)->cancelled_calls == 1);
    assert_int_equal(world->handled, 0);
}

static void test_a_call_that_waits_costs_no_wakeups(void **state)
{
    struct world *world = *state;
    int fd;

    serve(world, NULL);
    fd = dial(world);
    SEND(fd, HELLO WATCH WHOLE);
    UNTIL(world, world->kept);
    uv_run(&world->loop, UV_RUN_NOWAIT);
    uv_timer_stop(&world->give_up);
    assert_int_equal(uv_backend_timeout(&world->loop), -1);
    close(fd);
    UNTIL(world, world->gone == 1);
}

static void test_nonsense_is_counted_and_closed(void **state)
{
    struct world *world = *state;
    int fd;

    serve(world, NULL);
    fd = dial(world);
    SEND(fd, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    expect_end(world, fd);
    fd = dial(world);
    SEND(fd, HELLO "\0\0\7\6\0\0\0\0\0"
                   "PING of 7");
    expect_end(world, fd);
    assert_int_equal(rpc_server_counters(world->server)->protocol_errors, 2);
}

/* With a window of 0 nothing is sent, so of many lists one is kept. */
static void test_only_the_newest_is_kept(void **state)
{
    struct world *world = *state;
    struct received received = {.size = 0};
    const uint8_t *data;
    int fd;

    serve(world, NULL);
    fd = dial(world);
    SEND(fd, HELLO_SHUT WATCH WHOLE);
    UNTIL(world, world->kept);
    for (const char *c = "abcxyz"; *c; c++) {
        rpc_call_send(world->kept, c, 1);
        uv_run(&world->loop, UV_RUN_NOWAIT);
    }
    SEND(fd, "\0\0\4\x8\0\0\0\0\1\0\1\0\0"); /* WINDOW_UPDATE of stream 1 */
    while (!find_frame(&received, 0, 0)) {
        uv_run(&world->loop, UV_RUN_NOWAIT);
        receive_from(fd, &received);
    }
    data = find_frame(&received, 0, 0);
    assert_memory_equal(data + 9, "\0\0\0\0\1z", 6);
    assert_null(find_frame(&received, 0, 1));
    close(fd);
    UNTIL(world, world->gone == 1);
}

/* The peer's windows are wide open and it reads late: our socket is full in the middle of a
 * frame. */
static void test_a_late_reader_gets_everything(void **state)
{
    enum { BYTES = 3 << 20, PERIOD = 251 };
    struct world *world = *state;
    uint8_t *message = malloc(BYTES), *received = malloc((size_t)2 * BYTES);
    size_t size = 0, got = 0;
    int fd;

    assert_non_null(message);
    assert_non_null(received);
    for (size_t i = 0; i < BYTES; i++)
        message[i] = (uint8_t)(i % PERIOD);
    serve(world, NULL);
    fd = dial(world);
    SEND(fd, PREFACE "\0\0\6\4\0\0\0\0\0\0\4\x7f\xff\xff\xff"
                     "\0\0\4\x8\0\0\0\0\0\x7f\0\0\0" WATCH WHOLE);
    UNTIL(world, world->kept);
    rpc_call_send(world->kept, message, BYTES);
    for (int i = 0; i < 10; i++)
        uv_run(&world->loop, UV_RUN_NOWAIT);
    rpc_call_finish(world->kept, RPC_OK, NULL);
    while (got < BYTES + 5) {
        ssize_t n = recv(fd, received + size, (size_t)2 * BYTES - size, 0);

        uv_run(&world->loop, UV_RUN_NOWAIT);
        size += n > 0 ? (size_t)n : 0;
        got = 0;
        for (size_t at = 0; at + 9 <= size;) {
            size_t length =
                (size_t)received[at] << 16 | (size_t)received[at + 1] << 8 | received[at + 2];

            if (received[at + 3] == 0 && at + 9 + length <= size) {
                for (size_t i = got < 5 ? 5 - got : 0; i < length; i++)
                    assert_int_equal(received[at + 9 + i], (got + i - 5) % PERIOD);
                got += length;
            }
            at += 9 + length;
        }
    }
    assert_int_equal(got, BYTES + 5);
    close(fd);
    free(message);
    free(received);
}

/* Incomplete requests together hold at most eight of maximum size. */
static void test_unfinished_requests_are_bounded(void **state)
{
    enum { N = 20 };
    struct world *world = *state;
    struct rpc_limits limits = RPC_LIMITS_DEFAULT;
    const struct rpc_counters *counters;
    int fd;

    limits.message_bytes = 1000;
    serve(world, &limits);
    counters = rpc_server_counters(world->server);
    fd = dial(world);
    SEND(fd, HELLO);
    for (unsigned i = 0; i < N; i++) {
        uint8_t headers[] = WATCH, data[9 + 5 + 600] = "\0\2\x5d\0\0\0\0\0\1\0\0\0\3\xe8";

        headers[8] = data[8] = (uint8_t)(2 * i + 1);
        send_bytes(fd, headers, sizeof(headers) - 1);
        send_bytes(fd, data, sizeof(data));
    }
    UNTIL(world, counters->calls == N);
    assert_int_equal(counters->failed_calls, N - 8);
    close(fd);
    UNTIL(world, counters->cancelled_calls == 8);
}

static void test_too_much_queued_closes_the_connection(void **state)
{
    struct world *world = *state;
    struct rpc_limits limits = RPC_LIMITS_DEFAULT;
    static const uint8_t message[3000];
    int fd;

    limits.queued_bytes = 2000;
    serve(world, &limits);
    fd = dial(world);
    SEND(fd, HELLO_SHUT WATCH WHOLE);
    UNTIL(world, world->kept);
    assert_int_equal(rpc_call_send(world->kept, message, sizeof(message)), 0);
    expect_end(world, fd);
    assert_int_equal(world->gone, 1);
}

/* A GOAWAY that still admits requests in flight, then the final one once our PING is
 * acknowledged. */
static void test_stop_goes_away_in_two_phases(void **state)
{
    struct world *world = *state;
    struct received received = {.size = 0};
    const uint8_t *ping;
    int fd;

    serve(world, NULL);
    fd = dial(world);
    SEND(fd, HELLO WATCH WHOLE);
    UNTIL(world, world->kept);
    rpc_server_free(world->server);
    world->server = NULL;
    assert_int_equal(world->gone, 1);
    receive_from(fd, &received);
    assert_memory_equal(find_frame(&received, GOAWAY, 0) + 9, "\x7f\xff\xff\xff\0\0\0\0", 8);
    assert_null(find_frame(&received, GOAWAY, 1));
    ping = find_frame(&received, PING, 0);
    assert_non_null(ping);
    /* A request at this point is refused, so that it may be retried elsewhere. */
    SEND(fd, "\0\0\x1b\1\4\0\0\0\3\x83\x86\4\4/a/W\x0f\x10\x10"
             "application/grpc");
    SEND(fd, "\0\0\x08\6\1\0\0\0\0\0\0\0\0\0\0\0\0");
    while (!received.ended) {
        uv_run(&world->loop, UV_RUN_NOWAIT);
        receive_from(fd, &received);
    }
    assert_memory_equal(find_frame(&received, 3, 0) + 5, "\0\0\0\3\0\0\0\7", 8);
    assert_memory_equal(find_frame(&received, GOAWAY, 1) + 9, "\0\0\0\3\0\0\0\0", 8);
    assert_int_equal(world->handled, 1);
    close(fd);
}

/* A peer that does not answer our PING delays the stop by the grace period, not indefinitely. */
static void test_stop_does_not_wait_for_a_dead_peer(void **state)
{
    struct world *world = *state;
    int fd;

    serve(world, NULL);
    fd = dial(world);
    SEND(fd, HELLO WATCH WHOLE);
    UNTIL(world, world->kept);
    rpc_server_free(world->server);
    world->server = NULL;
    expect_end(world, fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_socket_file),
        TEST(test_another_server_s_socket_stays),
        TEST(test_removed_socket_is_noticed),
        TEST(test_a_file_in_the_way_is_kept),
        TEST(test_unusable_paths),
        TEST(test_other_users),
        TEST(test_too_many_connections),
        TEST(test_silent_peer_is_closed),
        TEST(test_out_of_descriptors),
        TEST(test_torn_request_runs_nothing),
        TEST(test_a_call_that_waits_costs_no_wakeups),
        TEST(test_nonsense_is_counted_and_closed),
        TEST(test_only_the_newest_is_kept),
        TEST(test_a_late_reader_gets_everything),
        TEST(test_unfinished_requests_are_bounded),
        TEST(test_too_much_queued_closes_the_connection),
        TEST(test_stop_goes_away_in_two_phases),
        TEST(test_stop_does_not_wait_for_a_dead_peer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
