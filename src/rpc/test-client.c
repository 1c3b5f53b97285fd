// SPDX-License-Identifier: Apache-2.0
#include "rpc/client.h"
#include "rpc/server.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/array.h"

/*
 * Our client and our server in one loop, over a real socket.
 */

enum { GIVE_UP_MS = 10000 };

struct world {
    uv_loop_t loop;
    uv_timer_t give_up;
    char folder[64], path[96];
    struct rpc_server *server;
    struct rpc_client *client;
    struct rpc_call *kept; /* of Hold and Watch */
    unsigned handled, gone;
    bool free_server_in_handler;
    size_t streams; /* the server's limit; 0 = its default */
};

/* The result of one call. */
struct outcome {
    unsigned done, messages;
    enum rpc_status status;
    char text[256];
    size_t size;
    uint8_t first, last; /* of the last message */
    unsigned cancel_after;
    struct rpc_request *cancel_when_done;
    struct world *world;
    bool free_client_on_message;
};

static void on_gone(struct rpc_call *call, void *data)
{
    struct world *world = data;

    (void)call;
    world->gone++;
    world->kept = NULL;
}

static void echo(struct rpc_call *call, const void *request, size_t size, void *userdata)
{
    struct world *world = userdata;

    world->handled++;
    rpc_call_reply(call, request, size);
}

static void hold(struct rpc_call *call, const void *request, size_t size, void *userdata)
{
    struct world *world = userdata;

    world->handled++;
    world->kept = call;
    rpc_call_keep(call, world, on_gone);
    if (world->free_server_in_handler) {
        rpc_server_free(world->server);
        world->server = NULL;
    }
}

static void refuse(struct rpc_call *call, const void *request, size_t size, void *userdata)
{
    rpc_call_finish(call, RPC_INVALID_ARGUMENT, "no such device: GPU-\xc3\xa9 100%\n");
}

static void empty_ok(struct rpc_call *call, const void *request, size_t size, void *userdata)
{
    rpc_call_finish(call, RPC_OK, NULL);
}

static const struct rpc_method methods[] = {
    {"/test.Test/Echo", echo},
    {"/test.Test/Hold", hold},
    {"/test.Test/Refuse", refuse},
    {"/test.Test/Nothing", empty_ok},
};

static void give_up(uv_timer_t *timer)
{
    fail_msg("waited %d ms in vain", GIVE_UP_MS);
}

/* Runs the loop until the condition holds. */
#define UNTIL(world, condition)                  \
    do {                                         \
        while (!(condition))                     \
            uv_run(&(world)->loop, UV_RUN_ONCE); \
    } while (0)

static void serve(struct world *world)
{
    struct rpc_limits limits = RPC_LIMITS_DEFAULT;
    struct error err = ERROR_INIT;

    limits.message_bytes = 1 << 20;
    limits.streams = world->streams;
    if (rpc_server_new(&world->loop, world->path,
                       &(struct rpc_service){.methods = methods,
                                             .n_methods = ARRAY_SIZE(methods),
                                             .limits = &limits,
                                             .userdata = world},
                       &world->server, &err) < 0)
        fail_msg("%s", err.message);
}

static void dial(struct world *world)
{
    struct error err = ERROR_INIT;

    if (rpc_client_new(&world->loop, world->path, &world->client, &err) < 0)
        fail_msg("%s", err.message);
}

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    snprintf(world->folder, sizeof(world->folder), "/tmp/gpuslice-rpc-XXXXXX");
    assert_non_null(mkdtemp(world->folder));
    snprintf(world->path, sizeof(world->path), "%s/test.sock", world->folder);
    uv_loop_init(&world->loop);
    uv_timer_init(&world->loop, &world->give_up);
    uv_timer_start(&world->give_up, give_up, GIVE_UP_MS, 0);
    uv_unref((uv_handle_t *)&world->give_up);
    serve(world);
    dial(world);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    rpc_client_free(world->client);
    rpc_server_free(world->server);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&world->give_up, NULL);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&world->loop), 0);
    /* The server removed its socket. */
    assert_int_equal(access(world->path, F_OK), -1);
    assert_int_equal(rmdir(world->folder), 0);
    free(world);
    return 0;
}

static void on_done(struct rpc_request *request, enum rpc_status status, const char *text,
                    const void *message, size_t size, void *userdata)
{
    struct outcome *outcome = userdata;

    outcome->done++;
    outcome->status = status;
    outcome->size = message ? size : 0;
    if (message && size > 0) {
        outcome->first = ((const uint8_t *)message)[0];
        outcome->last = ((const uint8_t *)message)[size - 1];
    }
    snprintf(outcome->text, sizeof(outcome->text), "%s", text);
    if (outcome->cancel_when_done)
        rpc_request_cancel(outcome->cancel_when_done);
}

static void on_message(struct rpc_request *request, const void *message, size_t size,
                       void *userdata)
{
    struct outcome *outcome = userdata;

    outcome->messages++;
    outcome->size = size;
    outcome->first = size ? ((const uint8_t *)message)[0] : 0;
    outcome->last = size ? ((const uint8_t *)message)[size - 1] : 0;
    if (outcome->cancel_after && outcome->messages == outcome->cancel_after)
        rpc_request_cancel(request);
    if (outcome->free_client_on_message) {
        rpc_client_free(outcome->world->client);
        outcome->world->client = NULL;
    }
}

static struct rpc_request *call(struct world *world, const char *method, const void *message,
                                size_t size, uint64_t deadline_ms, bool stream,
                                struct outcome *outcome)
{
    struct rpc_request *request = NULL;
    struct error err = ERROR_INIT;

    outcome->world = world;
    if (rpc_client_call(world->client,
                        &(struct rpc_invocation){.method = method,
                                                 .message = message,
                                                 .size = size,
                                                 .deadline_ms = deadline_ms,
                                                 .on_message = stream ? on_message : NULL,
                                                 .on_done = on_done,
                                                 .userdata = outcome},
                        &request, &err) < 0)
        fail_msg("%s", err.message);
    return request;
}

static void test_unary(void **state)
{
    struct world *world = *state;
    struct outcome outcome = {0};

    call(world, "/test.Test/Echo", "hello", 5, 0, false, &outcome);
    assert_int_equal(outcome.done, 0);
    UNTIL(world, outcome.done);
    assert_int_equal(outcome.status, RPC_OK);
    assert_int_equal(outcome.size, 5);
    assert_int_equal(outcome.first, 'h');
    assert_int_equal(outcome.last, 'o');
    assert_int_equal(rpc_server_counters(world->server)->calls, 1);
    assert_int_equal(rpc_server_counters(world->server)->failed_calls, 0);
}

static void test_empty_message(void **state)
{
    struct world *world = *state;
    struct outcome outcome = {.size = 99};

    call(world, "/test.Test/Echo", NULL, 0, 0, false, &outcome);
    UNTIL(world, outcome.done);
    assert_int_equal(outcome.status, RPC_OK);
    assert_int_equal(outcome.size, 0);
}

static void test_large_message_both_ways(void **state)
{
    struct world *world = *state;
    struct outcome outcome = {0};
    size_t size = 1 << 20;
    char *message = malloc(size);

    memset(message, 'x', size);
    message[0] = 'a';
    message[size - 1] = 'z';
    call(world, "/test.Test/Echo", message, size, 0, false, &outcome);
    free(message);
    UNTIL(world, outcome.done);
    assert_int_equal(outcome.status, RPC_OK);
    assert_int_equal(outcome.size, size);
    assert_int_equal(outcome.first, 'a');
    assert_int_equal(outcome.last, 'z');
}

static void test_oversize_message_leaves_connection_usable(void **state)
{
    struct world *world = *state;
    struct outcome large = {0}, good = {0};
    size_t size = (1 << 20) + 1;
    char *message = calloc(1, size);

    call(world, "/test.Test/Echo", message, size, 0, false, &large);
    free(message);
    UNTIL(world, large.done);
    assert_int_equal(large.status, RPC_RESOURCE_EXHAUSTED);
    assert_int_equal(world->handled, 0);
    call(world, "/test.Test/Echo", "a", 1, 0, false, &good);
    UNTIL(world, good.done);
    assert_int_equal(good.status, RPC_OK);
}

static void test_error_text_survives(void **state)
{
    struct world *world = *state;
    struct outcome outcome = {0};

    call(world, "/test.Test/Refuse", "x", 1, 0, false, &outcome);
    UNTIL(world, outcome.done);
    assert_int_equal(outcome.status, RPC_INVALID_ARGUMENT);
    assert_string_equal(outcome.text, "no such device: GPU-\xc3\xa9 100%\n");
    assert_int_equal(rpc_server_counters(world->server)->failed_calls, 1);
}

static void test_unknown_method(void **state)
{
    struct world *world = *state;
    struct outcome outcome = {0};

    call(world, "/test.Test/Unknown", "x", 1, 0, false, &outcome);
    UNTIL(world, outcome.done);
    assert_int_equal(outcome.status, RPC_UNIMPLEMENTED);
    assert_string_equal(outcome.text, "unknown method /test.Test/Unknown");
}

static void test_ok_without_message_is_an_error(void **state)
{
    struct world *world = *state;
    struct outcome outcome = {0};

    call(world, "/test.Test/Nothing", "x", 1, 0, false, &outcome);
    UNTIL(world, outcome.done);
    assert_int_equal(outcome.status, RPC_INTERNAL);
}

static void test_stream(void **state)
{
    struct world *world = *state;
    struct outcome outcome = {0};

    call(world, "/test.Test/Hold", NULL, 0, 0, true, &outcome);
    UNTIL(world, world->kept);
    assert_int_equal(rpc_call_send(world->kept, "1", 1), 0);
    UNTIL(world, outcome.messages == 1);
    assert_int_equal(outcome.first, '1');
    assert_int_equal(rpc_call_send(world->kept, NULL, 0), 0);
    UNTIL(world, outcome.messages == 2);
    assert_int_equal(outcome.size, 0);
    rpc_call_send(world->kept, "3", 1);
    rpc_call_finish(world->kept, RPC_ABORTED, "enough");
    world->kept = NULL;
    UNTIL(world, outcome.done);
    assert_int_equal(outcome.messages, 3);
    assert_int_equal(outcome.status, RPC_ABORTED);
    assert_string_equal(outcome.text, "enough");
    assert_int_equal(world->gone, 0);
}

/* The socket and the stream's window are full after the first part of message 0. */
static void test_newest_message_wins(void **state)
{
    struct world *world = *state;
    struct outcome outcome = {0};
    size_t size = 4 << 20;
    char *message = calloc(1, size);

    call(world, "/test.Test/Hold", NULL, 0, 0, true, &outcome);
    UNTIL(world, world->kept);
    rpc_call_send(world->kept, message, size);
    UNTIL(world, world->kept && uv_run(&world->loop, UV_RUN_NOWAIT));
    for (int i = 1; i <= 9; i++) {
        message[0] = message[size - 1] = (char)i;
        rpc_call_send(world->kept, message, size);
    }
    free(message);
    UNTIL(world, outcome.messages == 2);
    assert_int_equal(outcome.size, size);
    assert_int_equal(outcome.first, 9);
    assert_int_equal(outcome.last, 9);
    rpc_call_finish(world->kept, RPC_OK, NULL);
    world->kept = NULL;
    UNTIL(world, outcome.done);
    assert_int_equal(outcome.messages, 2);
}

static void test_client_cancels(void **state)
{
    struct world *world = *state;
    struct outcome outcome = {0};
    struct rpc_request *request;

    request = call(world, "/test.Test/Hold", NULL, 0, 0, true, &outcome);
    UNTIL(world, world->kept);
    rpc_request_cancel(request);
    UNTIL(world, world->gone == 1);
    assert_int_equal(outcome.done, 0);
    assert_int_equal(rpc_server_counters(world->server)->cancelled_calls, 1);
}

static void test_cancel_before_it_was_sent(void **state)
{
    struct world *world = *state;
    struct outcome cancelled = {0}, good = {0};

    rpc_request_cancel(call(world, "/test.Test/Hold", "x", 1, 0, true, &cancelled));
    call(world, "/test.Test/Echo", "x", 1, 0, false, &good);
    UNTIL(world, good.done);
    assert_int_equal(good.status, RPC_OK);
    assert_int_equal(world->kept == NULL, 1);
}

static void test_cancel_inside_a_message(void **state)
{
    struct world *world = *state;
    struct outcome outcome = {.cancel_after = 1};

    call(world, "/test.Test/Hold", NULL, 0, 0, true, &outcome);
    UNTIL(world, world->kept);
    rpc_call_send(world->kept, "1", 1);
    UNTIL(world, world->gone == 1);
    assert_int_equal(outcome.messages, 1);
    assert_int_equal(outcome.done, 0);
}

static void test_client_freed_inside_a_message(void **state)
{
    struct world *world = *state;
    struct outcome outcome = {.free_client_on_message = true};

    call(world, "/test.Test/Hold", NULL, 0, 0, true, &outcome);
    UNTIL(world, world->kept);
    rpc_call_send(world->kept, "1", 1);
    UNTIL(world, world->gone == 1);
    assert_int_equal(outcome.messages, 1);
}

static void test_deadline_on_both_sides(void **state)
{
    struct world *world = *state;
    struct outcome outcome = {0};
    uint64_t started;

    uv_update_time(&world->loop);
    started = uv_now(&world->loop);
    call(world, "/test.Test/Hold", NULL, 0, 50, false, &outcome);
    UNTIL(world, outcome.done);
    assert_int_equal(outcome.status, RPC_DEADLINE_EXCEEDED);
    assert_in_range(uv_now(&world->loop) - started, 50, 2000);
    UNTIL(world, world->gone == 1);
}

static void test_deadline_long_enough(void **state)
{
    struct world *world = *state;
    struct outcome outcome = {0};

    call(world, "/test.Test/Echo", "a", 1, 5000, false, &outcome);
    UNTIL(world, outcome.done);
    assert_int_equal(outcome.status, RPC_OK);
}

/* Both deadlines share one timer; the end of the first call removes the second. */
static void test_deadline_cancels_another_call(void **state)
{
    struct world *world = *state;
    struct outcome first = {0}, second = {0};
    struct rpc_request *a, *b;

    a = call(world, "/test.Test/Hold", NULL, 0, 50, false, &first);
    b = call(world, "/test.Test/Hold", NULL, 0, 50, false, &second);
    first.cancel_when_done = b;
    second.cancel_when_done = a;
    UNTIL(world, first.done || second.done);
    UNTIL(world, world->gone == 2);
    assert_int_equal(first.done + second.done, 1);
}

static void test_many_calls_in_flight(void **state)
{
    struct world *world = *state;
    enum { N = 2000 };
    struct outcome *outcomes = calloc(N, sizeof(*outcomes));
    unsigned good = 0;

    for (unsigned i = 0; i < N; i++)
        call(world, "/test.Test/Echo", &i, sizeof(i), 5000, false, &outcomes[i]);
    UNTIL(world, world->handled == N);
    for (unsigned i = 0; i < N; i++) {
        UNTIL(world, outcomes[i].done);
        good += outcomes[i].status == RPC_OK && outcomes[i].first == (uint8_t)i;
    }
    free(outcomes);
    assert_int_equal(good, N);
}

static void test_server_stops_with_open_calls(void **state)
{
    struct world *world = *state;
    struct outcome stream = {0}, unary = {0};

    call(world, "/test.Test/Hold", NULL, 0, 0, true, &stream);
    UNTIL(world, world->kept);
    rpc_call_send(world->kept, "1", 1);
    UNTIL(world, stream.messages == 1);
    call(world, "/test.Test/Hold", NULL, 0, 0, false, &unary);
    UNTIL(world, world->handled == 2);
    rpc_server_free(world->server);
    world->server = NULL;
    assert_int_equal(world->gone, 2);
    UNTIL(world, stream.done && unary.done);
    assert_int_equal(stream.status, RPC_UNAVAILABLE);
    assert_int_equal(unary.status, RPC_UNAVAILABLE);
    UNTIL(world, !rpc_client_is_usable(world->client));
    assert_int_equal(rpc_client_call(world->client,
                                     &(struct rpc_invocation){.method = "/test.Test/Echo",
                                                              .on_done = on_done,
                                                              .userdata = &unary},
                                     NULL, NULL),
                     -ENOTCONN);
}

/* The second call waits for a free stream when the server's GOAWAY arrives. */
static void test_server_stops_with_a_waiting_call(void **state)
{
    struct world *world = *state;
    struct outcome good = {0}, held = {0}, waiting = {0};

    rpc_client_free(world->client);
    rpc_server_free(world->server);
    world->streams = 1;
    serve(world);
    dial(world);
    call(world, "/test.Test/Echo", NULL, 0, 0, false, &good);
    UNTIL(world, good.done);
    call(world, "/test.Test/Hold", NULL, 0, 0, false, &held);
    call(world, "/test.Test/Hold", NULL, 0, 0, false, &waiting);
    UNTIL(world, world->kept);
    rpc_server_free(world->server);
    world->server = NULL;
    UNTIL(world, held.done && waiting.done);
    assert_int_equal(held.status, RPC_UNAVAILABLE);
    assert_int_equal(waiting.status, RPC_UNAVAILABLE);
    assert_int_equal(world->handled, 2);
}

static void test_server_freed_inside_a_handler(void **state)
{
    struct world *world = *state;
    struct outcome outcome = {0};

    world->free_server_in_handler = true;
    call(world, "/test.Test/Hold", NULL, 0, 0, false, &outcome);
    UNTIL(world, outcome.done);
    assert_int_equal(outcome.status, RPC_UNAVAILABLE);
    assert_int_equal(world->gone, 1);
}

static void test_reconnect_after_restart(void **state)
{
    struct world *world = *state;
    struct outcome lost = {0}, good = {0};

    call(world, "/test.Test/Hold", NULL, 0, 0, false, &lost);
    UNTIL(world, world->kept);
    rpc_server_free(world->server);
    serve(world);
    UNTIL(world, lost.done);
    assert_int_equal(lost.status, RPC_UNAVAILABLE);
    rpc_client_free(world->client);
    dial(world);
    call(world, "/test.Test/Echo", "x", 1, 0, false, &good);
    UNTIL(world, good.done);
    assert_int_equal(good.status, RPC_OK);
}

static void test_nobody_listens(void **state)
{
    struct world *world = *state;
    struct rpc_client *client = NULL;
    struct error err = ERROR_INIT;
    char path[128];

    snprintf(path, sizeof(path), "%s/other.sock", world->folder);
    assert_int_equal(rpc_client_new(&world->loop, path, &client, &err), -ENOENT);
    assert_null(client);
    assert_non_null(strstr(err.message, "other.sock"));
}

static pid_t start_peer(struct world *world, bool *ret_is_child)
{
    pid_t pid = fork();

    *ret_is_child = pid == 0;
    return pid;
}

/* The peer is a separate process that is killed while calls are open. */
static void test_server_is_killed(void **state)
{
    struct world *world = *state;
    struct outcome outcome = {0};
    bool is_child;
    int ready[2];
    pid_t pid;
    char byte;

    rpc_client_free(world->client);
    world->client = NULL;
    rpc_server_free(world->server);
    world->server = NULL;
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    pid = start_peer(world, &is_child);
    if (is_child) {
        struct world child = {0};

        uv_loop_init(&child.loop);
        snprintf(child.path, sizeof(child.path), "%s", world->path);
        serve(&child);
        (void)!write(ready[1], "r", 1);
        uv_run(&child.loop, UV_RUN_DEFAULT);
        _exit(1);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    dial(world);
    call(world, "/test.Test/Hold", NULL, 0, 0, true, &outcome);
    uv_run(&world->loop, UV_RUN_NOWAIT);
    kill(pid, SIGKILL);
    UNTIL(world, outcome.done);
    assert_int_equal(outcome.status, RPC_UNAVAILABLE);
    assert_false(rpc_client_is_usable(world->client));
    waitpid(pid, NULL, 0);
    /* A dead server's socket file is replaced by the next server. */
    serve(world);
}

static void test_client_is_killed(void **state)
{
    struct world *world = *state;
    bool is_child;
    pid_t pid = start_peer(world, &is_child);

    if (is_child) {
        struct world child = {0};
        struct outcome outcome = {0};

        uv_loop_init(&child.loop);
        snprintf(child.path, sizeof(child.path), "%s", world->path);
        dial(&child);
        call(&child, "/test.Test/Hold", NULL, 0, 0, true, &outcome);
        uv_run(&child.loop, UV_RUN_DEFAULT);
        _exit(1);
    }
    UNTIL(world, world->kept);
    kill(pid, SIGKILL);
    UNTIL(world, world->gone == 1);
    waitpid(pid, NULL, 0);
    assert_int_equal(rpc_server_counters(world->server)->cancelled_calls, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_unary),
        TEST(test_empty_message),
        TEST(test_large_message_both_ways),
        TEST(test_oversize_message_leaves_connection_usable),
        TEST(test_error_text_survives),
        TEST(test_unknown_method),
        TEST(test_ok_without_message_is_an_error),
        TEST(test_stream),
        TEST(test_newest_message_wins),
        TEST(test_client_cancels),
        TEST(test_cancel_before_it_was_sent),
        TEST(test_cancel_inside_a_message),
        TEST(test_client_freed_inside_a_message),
        TEST(test_deadline_on_both_sides),
        TEST(test_deadline_long_enough),
        TEST(test_deadline_cancels_another_call),
        TEST(test_many_calls_in_flight),
        TEST(test_server_stops_with_open_calls),
        TEST(test_server_stops_with_a_waiting_call),
        TEST(test_server_freed_inside_a_handler),
        TEST(test_reconnect_after_restart),
        TEST(test_nobody_listens),
        TEST(test_server_is_killed),
        TEST(test_client_is_killed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
