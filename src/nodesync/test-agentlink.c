// SPDX-License-Identifier: Apache-2.0
#include "nodesync/agentlink.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "proc/blocking.h"
#include "proc/listener.h"
#include "proc/subprocess.h"

static uv_loop_t loop;
static struct agentlink *link_;
static struct blocking_channel agent; /* the other end; fd -1 = closed */

static struct {
    unsigned n_messages, n_ends;
    char reasons[256]; /* of the events received, in order */
    int r;
    char sentence[512];
} seen;

#define WAIT_FOR(condition)             \
    do {                                \
        alarm(30);                      \
        while (!(condition))            \
            uv_run(&loop, UV_RUN_ONCE); \
        alarm(0);                       \
    } while (0)

static void on_message(struct sync_message *message, void *userdata)
{
    (void)userdata;
    seen.n_messages++;
    if (message->kind == SYNC_EVENT)
        strncat(seen.reasons, message->event.reason,
                sizeof(seen.reasons) - strlen(seen.reasons) - 1);
}

static void on_end(int r, const char *sentence, void *userdata)
{
    (void)userdata;
    seen.n_ends++;
    seen.r = r;
    snprintf(seen.sentence, sizeof(seen.sentence), "%s", sentence);
}

static const struct agentlink_events events = {on_message, on_end};

/* As a child that inherited its end. */
static int set_up(void **state)
{
    int fds[2], ours;

    (void)state;
    memset(&seen, 0, sizeof(seen));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    blocking_init(&agent, fcntl(fds[0], F_DUPFD_CLOEXEC, 100), SYNC_MESSAGE_MAX);
    ours = fcntl(fds[1], F_DUPFD_CLOEXEC, 100);
    close(fds[0]);
    close(fds[1]);
    assert_int_equal(dup2(ours, SUBPROCESS_FD), SUBPROCESS_FD);
    close(ours);
    uv_loop_init(&loop); /* whose descriptors come behind that one */
    assert_int_equal(agentlink_new(&loop, NULL, &events, NULL, &link_, NULL), 0);
    assert_false(agentlink_is_up(link_));
    blocking_hello(&agent, "agent");
    WAIT_FOR(agentlink_is_up(link_));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    agentlink_free(link_);
    uv_run(&loop, UV_RUN_DEFAULT);
    if (agent.fd >= 0)
        close(agent.fd);
    blocking_deinit(&agent);
    return uv_loop_close(&loop);
}

static void agent_sends(const char *body)
{
    const struct proc_frame frame = {PROC_FRAME_NOTICE, 0, 0, body, strlen(body)};

    assert_int_equal(blocking_send(&agent, &frame), 0);
}

static void messages_come_in_order(void **state)
{
    (void)state;
    agent_sends("{\"kind\":\"event\",\"reason\":\"A\"}");
    agent_sends("{\"kind\":\"event\",\"reason\":\"B\"}");
    agent_sends("{\"kind\":\"bye\"}");
    WAIT_FOR(seen.n_messages == 3);
    assert_string_equal(seen.reasons, "AB");
    close(agent.fd);
    agent.fd = -1;
    WAIT_FOR(seen.n_ends);
    assert_int_equal(seen.r, 0);
    assert_false(agentlink_is_up(link_));
}

static void nonsense_is_the_end(void **state)
{
    (void)state;
    agent_sends("{\"kind\":\"event\",\"reason\":\"A\"}");
    agent_sends("hello");
    agent_sends("{\"kind\":\"bye\"}");
    WAIT_FOR(seen.n_ends);
    for (int i = 0; i < 4; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(seen.n_messages, 1);
    assert_int_equal(seen.r, -EBADMSG);
    assert_string_not_equal(seen.sentence, "");
}

static void a_message_has_a_bound(void **state)
{
    uint8_t header[PROC_FRAME_HEADER_BYTES];

    (void)state;
    proc_frame_write_header(
        &(struct proc_frame){PROC_FRAME_NOTICE, 0, 0, NULL, SYNC_MESSAGE_MAX + 1}, header);
    assert_int_equal(write(agent.fd, header, sizeof(header)), sizeof(header));
    WAIT_FOR(seen.n_ends);
    assert_int_equal(seen.r, -EPROTO);
    assert_non_null(strstr(seen.sentence, "the limit is"));
}

/* An agent that does not read gets the newest when it does. */
static void sends_the_newest(void **state)
{
    struct sync_message message = {.kind = SYNC_NEWS};
    struct proc_frame frame;
    char reason[16];
    size_t n_frames = 0;
    int r = BLOCKING_TIMEOUT;

    (void)state;
    for (int i = 0; i < 50000; i++) {
        struct sync_resource resource = {.name = reason, .capacity = 1};

        snprintf(reason, sizeof(reason), "v%d", i / 2); /* each twice: it is sent once */
        message.news = (struct sync_news){.resources = &resource, .n_resources = 1};
        assert_int_equal(agentlink_send(link_, &message), 0);
    }
    alarm(30);
    while (r == BLOCKING_TIMEOUT || !strstr(frame.body, "v24999")) {
        uv_run(&loop, UV_RUN_NOWAIT);
        r = blocking_receive(&agent, 0, &frame, NULL);
        assert_true(r == 0 || r == BLOCKING_TIMEOUT);
        n_frames += r == 0;
    }
    alarm(0);
    assert_in_range(n_frames, 1, 24000);
}

/* Beside the agent, and not its child. */
static void it_connects_to_the_agent(void **state)
{
    char folder[] = "/tmp/gpuslice-agentlink-XXXXXX", path[64];
    const struct listener_service service = {.name = SYNC_NAME, .max_peers = 1};
    struct listener_options options = {
        .mode = 0600, .users = {getuid()}, .n_users = 1, .channel = {.name = "agent"}};
    struct agentlink *other;
    struct listener *listener;
    struct error err = ERROR_INIT;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/agent.sock", folder);
    options.path = path;
    assert_int_equal(agentlink_new(&loop, path, &events, NULL, &other, &err), 0);
    assert_int_equal(listener_new(&loop, &options, &listener, &err), 0);
    assert_int_equal(listener_serve(listener, &service), 0);
    WAIT_FOR(agentlink_is_up(other));
    listener_free(listener);
    WAIT_FOR(seen.n_ends);
    assert_int_equal(seen.r, 0);
    agentlink_free(other);
    assert_int_equal(rmdir(folder), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(messages_come_in_order), CASE(nonsense_is_the_end),      CASE(a_message_has_a_bound),
        CASE(sends_the_newest),       CASE(it_connects_to_the_agent),
    };

    log_setup(LOG_ERROR, LOG_LOGFMT);
    return cmocka_run_group_tests_name("agentlink", tests, NULL, NULL);
}
