// SPDX-License-Identifier: Apache-2.0
#include "node/synclink.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/text.h"
#include "proc/blocking.h"
#include "proc/connector.h"
#include "proc/listener.h"

/* gpuslice-nodesync is played here by hand: it connects to the agent's socket. As a child it is
 * tested with the agent. */

static uv_loop_t loop;
static char folder[64], path[96];
static struct listener *listener;
static struct synclink *synclink;
static unsigned n_news, n_left;
static bool was_uninstall;

#define WAIT_FOR(condition)             \
    do {                                \
        alarm(30);                      \
        while (!(condition))            \
            uv_run(&loop, UV_RUN_ONCE); \
        alarm(0);                       \
    } while (0)

static void on_news(const struct sync_news *news, void *userdata)
{
    (void)news, (void)userdata;
    n_news++;
}

static void on_left(bool is_uninstall, void *userdata)
{
    (void)userdata;
    n_left++;
    was_uninstall = is_uninstall;
}

static void open_link(bool as_child)
{
    static char node[] = "gpu-1", nothing[] = "";
    const struct sync_setup setup = {
        .node = node, .kubeconfig = nothing, .namespace_ = nothing, .pod = nothing};
    const struct listener_options door = {
        .path = path, .users = {getuid()}, .n_users = 1, .channel = {.name = "agent"}};
    struct synclink_options options = {.setup = &setup, .deadline_ms = 10000};

    if (!as_child)
        assert_int_equal(listener_new(&loop, &door, &listener, NULL), 0);
    options.listener = listener;
    assert_int_equal(synclink_new(&loop, &options, on_news, NULL, &synclink, NULL), 0);
}

static int set_up(void **state)
{
    (void)state;
    log_setup(LOG_ERROR, LOG_LOGFMT);
    listener = NULL;
    synclink = NULL;
    n_news = n_left = 0;
    was_uninstall = false;
    snprintf(folder, sizeof(folder), "/tmp/gpuslice-synclink-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/agent.sock", folder);
    return uv_loop_init(&loop);
}

static int tear_down(void **state)
{
    (void)state;
    synclink_free(synclink);
    listener_free(listener);
    uv_run(&loop, UV_RUN_DEFAULT); /* ends: no handle is left */
    assert_int_equal(rmdir(folder), 0);
    return uv_loop_close(&loop);
}

static struct blocking_channel connect_program(void)
{
    struct blocking_channel program;
    const int fd = connector_open(path, NULL);

    assert_true(fd >= 0);
    blocking_init(&program, fd, SYNC_MESSAGE_MAX);
    assert_int_equal(blocking_hello(&program, SYNC_NAME), 0);
    return program;
}

static void end_program(struct blocking_channel *program)
{
    close(program->fd);
    blocking_deinit(program);
}

static void program_sends(struct blocking_channel *program, const char *body)
{
    const struct proc_frame frame = {PROC_FRAME_NOTICE, 0, 0, body, strlen(body)};

    assert_int_equal(blocking_send(program, &frame), 0);
}

/* The next message, awaited; its text belongs to the channel. */
static const char *next_message(struct blocking_channel *program)
{
    struct proc_frame frame;
    int r;

    alarm(30);
    do {
        uv_run(&loop, UV_RUN_NOWAIT);
        r = blocking_receive(program, 0, &frame, NULL);
    } while (r == BLOCKING_TIMEOUT);
    alarm(0);
    assert_int_equal(r, 0);
    return frame.body;
}

static void add_event(const char *reason)
{
    static char message[] = "GPU 0 is bad";
    const struct sync_event event = {
        .warning = true, .reason = (char *)(uintptr_t)reason, .message = message};

    synclink_event(synclink, &event);
}

static void set_state(const char *reason)
{
    const struct sync_state state = {.has_condition = true, .reason = (char *)(uintptr_t)reason};

    synclink_state(synclink, &state);
}

static void without_the_program_little_is_kept(void **state)
{
    (void)state;
    open_link(true); /* no such program lies beside a test */
    for (int i = 0; i < 1000; i++) {
        add_event("GPUUnhealthy");
        set_state(i % 2 ? "Odd" : "Even");
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    assert_int_equal(synclink_lost_events(synclink), 1000 - SYNCLINK_MAX_EVENTS);
    assert_false(synclink_is_connected(synclink));
    assert_false(synclink_leave(synclink, on_left, NULL));
}

static void a_program_that_comes_gets_all_in_order(void **state)
{
    struct blocking_channel program;

    (void)state;
    open_link(false);
    set_state("Old");
    add_event("First");
    set_state("New");
    add_event("Second");
    program = connect_program();
    assert_non_null(strstr(next_message(&program), "\"setup\""));
    assert_non_null(strstr(next_message(&program), "\"New\""));
    assert_non_null(strstr(next_message(&program), "\"First\""));
    assert_non_null(strstr(next_message(&program), "\"Second\""));
    set_state("New"); /* nothing new */
    set_state("Newer");
    assert_non_null(strstr(next_message(&program), "\"Newer\""));
    assert_int_equal(synclink_lost_events(synclink), 0);
    end_program(&program);
}

/* Of a program that does not read, the next one gets what was not taken. */
static void a_program_that_dies_takes_little_along(void **state)
{
    static char big[200001];
    struct blocking_channel program;
    unsigned n_events = 0;

    (void)state;
    memset(big, 'x', sizeof(big) - 1);
    open_link(false);
    set_state("State");
    program = connect_program();
    assert_non_null(strstr(next_message(&program), "\"setup\""));
    for (int i = 0; i < 20; i++) {
        add_event(big);
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    end_program(&program);
    for (int i = 0; i < 4; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
    add_event("Last");
    program = connect_program();
    assert_non_null(strstr(next_message(&program), "\"setup\""));
    assert_non_null(strstr(next_message(&program), "\"State\""));
    while (!strstr(next_message(&program), "\"Last\""))
        n_events++;
    assert_in_range(n_events, 16, 20); /* what lay in the socket is gone */
    assert_int_equal(synclink_lost_events(synclink), 0);
    end_program(&program);
}

static void news_say_whether_the_server_is_there(void **state)
{
    struct blocking_channel program;

    (void)state;
    open_link(false);
    program = connect_program();
    assert_non_null(strstr(next_message(&program), "\"setup\""));
    assert_false(synclink_is_connected(synclink));
    program_sends(&program, "{\"kind\":\"news\",\"heard\":true}");
    WAIT_FOR(n_news == 1);
    assert_true(synclink_is_connected(synclink));
    program_sends(&program, "nonsense");
    program_sends(&program, "{\"kind\":\"setup\",\"node\":\"x\"}");
    program_sends(&program, "{\"kind\":\"news\",\"heard\":false}");
    WAIT_FOR(n_news == 2);
    assert_false(synclink_is_connected(synclink));
    program_sends(&program, "{\"kind\":\"news\",\"heard\":true}");
    WAIT_FOR(synclink_is_connected(synclink));
    end_program(&program);
    WAIT_FOR(!synclink_is_connected(synclink));
}

static void it_leaves_when_the_program_is_done(void **state)
{
    struct blocking_channel program;

    (void)state;
    open_link(false);
    program = connect_program();
    assert_non_null(strstr(next_message(&program), "\"setup\""));
    program_sends(&program, "{\"kind\":\"news\",\"heard\":true}");
    WAIT_FOR(n_news);
    add_event("Last");
    assert_true(synclink_leave(synclink, on_left, NULL));
    assert_non_null(strstr(next_message(&program), "\"Last\""));
    assert_non_null(strstr(next_message(&program), "\"bye\""));
    assert_int_equal(n_left, 0);
    program_sends(&program, "{\"kind\":\"uninstall\"}");
    end_program(&program);
    WAIT_FOR(n_left);
    assert_true(was_uninstall);
}

static void no_link_is_fine(void **state)
{
    (void)state;
    synclink_state(NULL, &(struct sync_state){.ready = true});
    synclink_event(NULL, &(struct sync_event){.warning = true});
    assert_false(synclink_is_connected(NULL));
    assert_false(synclink_leave(NULL, on_left, NULL));
    assert_int_equal(synclink_lost_events(NULL), 0);
    synclink_free(NULL);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(without_the_program_little_is_kept),     CASE(a_program_that_comes_gets_all_in_order),
        CASE(a_program_that_dies_takes_little_along), CASE(news_say_whether_the_server_is_there),
        CASE(it_leaves_when_the_program_is_done),     CASE(no_link_is_fine),
    };

    return cmocka_run_group_tests_name("node/synclink", tests, NULL, NULL);
}
