// SPDX-License-Identifier: Apache-2.0
#include "proc/connector.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "proc/listener.h"

static uv_loop_t loop;
static struct listener *listener;
static struct connector *connector;
static char folder[64], path[96];
static unsigned n_served, n_gone; /* as the listener sees it */
static struct {
    unsigned n_up, n_down, n_troubles, n_requests;
    char trouble[256];
    struct channel *channel;
} seen;

#define WAIT_FOR(condition)             \
    do {                                \
        alarm(30);                      \
        while (!(condition))            \
            uv_run(&loop, UV_RUN_ONCE); \
        alarm(0);                       \
    } while (0)

static void on_served(struct channel *channel, const char *name, void *userdata)
{
    (void)name, (void)userdata;
    n_served++;
    channel_request(channel, 1, "x", 1, 30000, (channel_done_fn *)userdata, NULL);
}

static void on_gone(struct channel *channel, void *userdata)
{
    (void)channel, (void)userdata;
    n_gone++;
}

static void on_answer(const struct channel_answer *answer, void *userdata)
{
    (void)userdata;
    assert_true(answer->result == CHANNEL_ANSWERED || answer->result == CHANNEL_CLOSED);
}

static void listen_there(void)
{
    const struct listener_options options = {
        .path = path,
        .mode = 0600,
        .users = {getuid()},
        .n_users = 1,
        .channel = {.name = "agent", .hello_ms = 60000},
    };
    const struct listener_service service = {.name = "http",
                                             .max_peers = 1,
                                             .on_up = on_served,
                                             .on_down = on_gone,
                                             .userdata = (void *)on_answer};

    assert_int_equal(listener_new(&loop, &options, &listener, NULL), 0);
    assert_int_equal(listener_serve(listener, &service), 0);
}

static void on_up(struct channel *channel, const char *name, void *userdata)
{
    (void)userdata;
    assert_string_equal(name, "agent");
    seen.channel = channel;
    seen.n_up++;
}

static void on_request(struct channel *channel, uint32_t id, uint16_t kind, const char *body,
                       size_t size, void *userdata)
{
    (void)userdata;
    seen.n_requests++;
    channel_answer(channel, id, kind, body, size);
}

static void on_down(const char *sentence, void *userdata)
{
    (void)userdata;
    assert_non_null(strstr(sentence, "closed"));
    seen.n_down++;
}

static void on_trouble(const char *sentence, void *userdata)
{
    (void)userdata;
    seen.n_troubles++;
    snprintf(seen.trouble, sizeof(seen.trouble), "%s", sentence);
}

static void connect_as(const char *name)
{
    static const struct connector_callbacks callbacks = {
        .on_up = on_up, .on_request = on_request, .on_down = on_down, .on_trouble = on_trouble};
    const struct channel_options options = {.name = name};

    assert_int_equal(connector_new(&loop, path, &options, &callbacks, NULL, &connector, NULL), 0);
}

static int set_up(void **state)
{
    (void)state;
    listener = NULL;
    connector = NULL;
    n_served = n_gone = 0;
    memset(&seen, 0, sizeof(seen));
    snprintf(folder, sizeof(folder), "/tmp/gpuslice-connector-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/agent.sock", folder);
    return uv_loop_init(&loop);
}

static int tear_down(void **state)
{
    (void)state;
    connector_free(connector);
    listener_free(listener);
    alarm(30);
    uv_run(&loop, UV_RUN_DEFAULT);
    alarm(0);
    assert_int_equal(rmdir(folder), 0);
    return uv_loop_close(&loop);
}

static void it_connects_and_answers(void **state)
{
    (void)state;
    listen_there();
    connect_as("http");
    WAIT_FOR(seen.n_requests);
    assert_int_equal(seen.n_up, 1);
    assert_int_equal(seen.n_troubles, 0);
    connector_free(TAKE_PTR(connector));
    WAIT_FOR(n_gone);
}

/* Containers of a pod start in any order. */
static void it_waits_for_the_listener(void **state)
{
    (void)state;
    connect_as("http");
    WAIT_FOR(seen.n_troubles);
    assert_non_null(strstr(seen.trouble, "agent.sock: No such file"));
    for (unsigned i = 0; i < 3; i++)
        uv_run(&loop, UV_RUN_ONCE); /* retries */
    assert_int_equal(seen.n_troubles, 1);
    listen_there();
    WAIT_FOR(seen.n_up);
}

static void it_connects_again(void **state)
{
    (void)state;
    listen_there();
    connect_as("http");
    for (unsigned i = 1; i <= 3; i++) {
        WAIT_FOR(seen.n_up == i);
        listener_free(listener);
        listen_there();
        WAIT_FOR(seen.n_down == i);
    }
    WAIT_FOR(seen.n_up == 4);
}

/* An agent that refuses a service has said hello before. */
static void one_that_is_refused_waits_longer_each_time(void **state)
{
    const uint64_t start_ms = clock_now_ms();

    (void)state;
    listen_there();
    connect_as("stranger");
    WAIT_FOR(seen.n_down == 5);
    assert_false(connector_lasted(connector));
    /* 100, 200, 400, 800: a pause may seem shorter, as the loop counts from when it woke up */
    assert_true(clock_now_ms() - start_ms > 1000);
}

static void one_that_is_refused_tries_on(void **state)
{
    (void)state;
    listen_there();
    connect_as("stranger");
    WAIT_FOR(seen.n_up + seen.n_troubles);
    assert_int_equal(n_served, 0);
}

static void a_blocking_program_gets_a_sentence(void **state)
{
    struct error err = ERROR_INIT;

    (void)state;
    assert_int_equal(connector_open(path, &err), -ENOENT);
    assert_non_null(strstr(error_text(&err), path));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(it_connects_and_answers),
        CASE(it_waits_for_the_listener),
        CASE(it_connects_again),
        CASE(one_that_is_refused_waits_longer_each_time),
        CASE(one_that_is_refused_tries_on),
        CASE(a_blocking_program_gets_a_sentence),
    };

    log_setup(LOG_ERROR, LOG_LOGFMT);
    return cmocka_run_group_tests_name("proc/connector", tests, NULL, NULL);
}
