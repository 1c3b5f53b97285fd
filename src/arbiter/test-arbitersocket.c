// SPDX-License-Identifier: Apache-2.0

/* The agent says its wish and gets the state, in whatever order the two start; others get the
 * status document. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "arbiter/arbitersocket.h"
#include "grant/test-tempdir.h"
#include "proc/connector.h"

static uv_loop_t loop;
static struct arbitersocket *sock;
static struct arbiter_wish wish;
static unsigned n_wishes, n_agents;
static const char *library = "/lib/1.0";
static char path[128];

#define WAIT_FOR(condition)             \
    do {                                \
        alarm(30);                      \
        while (!(condition))            \
            uv_run(&loop, UV_RUN_ONCE); \
        alarm(0);                       \
    } while (0)

/* --- the arbiter --- */

static void on_wish(const struct arbiter_wish *wished, void *userdata)
{
    (void)userdata;
    wish = *wished;
    n_wishes++;
}

static int make_state(struct arbiter_state *state, void *userdata)
{
    (void)userdata;
    snprintf(state->library, sizeof(state->library), "%s", library);
    return 0;
}

static void add_status(struct text *out, void *userdata)
{
    (void)userdata;
    text_add(out, "{\"mode\": \"observe\"}");
}

static void on_agent(void *userdata)
{
    (void)userdata;
    n_agents++;
}

static const struct arbitersocket_callbacks callbacks = {on_agent, on_wish, make_state, add_status};

static void open_socket(void)
{
    struct error err = ERROR_INIT;

    if (arbitersocket_new(&loop, tempdir, &callbacks, NULL, &sock, &err) < 0)
        fail_msg("%s", error_text(&err));
}

static int set_up(void **state)
{
    n_wishes = n_agents = 0;
    sock = NULL;
    library = "/lib/1.0";
    if (tempdir_make(state) < 0)
        return -1;
    snprintf(path, sizeof(path), "%s/" ARBITER_SOCKET, tempdir);
    return uv_loop_init(&loop);
}

static int tear_down(void **state)
{
    arbitersocket_free(sock);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop) == 0 ? tempdir_remove(state) : -1;
}

/* --- an agent --- */

struct agent {
    struct connector *connector;
    struct channel *channel;
    unsigned n_states, n_events, n_down;
    struct arbiter_state state;
    struct arbiter_event event;
};

static void on_up(struct channel *channel, const char *name, void *userdata)
{
    struct agent *agent = userdata;

    assert_string_equal(name, ARBITER_NAME);
    agent->channel = channel;
}

static void on_notice(struct channel *channel, uint16_t kind, const char *body, size_t size,
                      void *userdata)
{
    struct agent *agent = userdata;

    (void)channel;
    if (kind == ARBITER_STATE) {
        arbiter_state_deinit(&agent->state);
        assert_int_equal(arbiter_state_read(body, size, &agent->state, NULL), 0);
        agent->n_states++;
    } else {
        assert_int_equal(kind, ARBITER_EVENT);
        assert_int_equal(arbiter_event_read(body, size, &agent->event, NULL), 0);
        agent->n_events++;
    }
}

static void on_down(const char *sentence, void *userdata)
{
    struct agent *agent = userdata;

    (void)sentence;
    agent->channel = NULL;
    agent->n_down++;
}

static void connect_agent(struct agent *agent)
{
    static const struct channel_options options = {.name = ARBITER_AGENT};
    static const struct connector_callbacks agent_callbacks = {
        .on_up = on_up, .on_notice = on_notice, .on_down = on_down};

    assert_int_equal(
        connector_new(&loop, path, &options, &agent_callbacks, agent, &agent->connector, NULL), 0);
}

static void end_agent(struct agent *agent)
{
    connector_free(agent->connector);
    arbiter_state_deinit(&agent->state);
}

static void send_wish(struct agent *agent, const char *body)
{
    assert_int_equal(
        channel_notify(agent->channel, ARBITER_WISH, CHANNEL_KEEP_NEWEST, body, strlen(body)), 0);
}

/* --- tests --- */

static void test_a_wish_and_a_state_are_exchanged(void **state)
{
    struct agent agent = {.n_states = 0};

    connect_agent(&agent);
    uv_run(&loop, UV_RUN_ONCE); /* tries, and finds nobody */
    open_socket();
    WAIT_FOR(agent.n_states == 1);
    assert_string_equal(agent.state.library, "/lib/1.0");
    send_wish(&agent, "mode enforced\n");
    WAIT_FOR(n_wishes == 1);
    assert_int_equal(wish.mode, LIMITS_ENFORCED);
    end_agent(&agent);
}

static void test_a_state_is_sent_when_it_changes(void **state)
{
    struct agent agent = {.n_states = 0};

    open_socket();
    connect_agent(&agent);
    WAIT_FOR(agent.n_states == 1);
    arbitersocket_publish(sock); /* the same */
    library = "/lib/2.0";
    arbitersocket_publish(sock);
    WAIT_FOR(agent.n_states == 2);
    assert_string_equal(agent.state.library, "/lib/2.0");
    end_agent(&agent);
}

static void test_each_agent_gets_the_state(void **state)
{
    struct agent first = {.n_states = 0}, second = {.n_states = 0};

    open_socket();
    connect_agent(&first);
    WAIT_FOR(first.n_states == 1);
    end_agent(&first);
    connect_agent(&second);
    WAIT_FOR(second.n_states == 1);
    end_agent(&second);
}

static void test_nonsense_leaves_the_mode(void **state)
{
    struct agent agent = {.n_states = 0};

    open_socket();
    connect_agent(&agent);
    WAIT_FOR(agent.n_states == 1);
    send_wish(&agent, "mode lax\n");
    assert_int_equal(channel_notify(agent.channel, 99, CHANNEL_KEEP_ALL, "later", 5), 0);
    WAIT_FOR(channel_is_drained(agent.channel));
    send_wish(&agent, "mode observe\n");
    WAIT_FOR(n_wishes == 1);
    assert_int_equal(wish.mode, LIMITS_OBSERVE);
    assert_int_equal(agent.n_down, 0);
    end_agent(&agent);
}

static void test_an_event_reaches_the_agent(void **state)
{
    const struct arbiter_event event = {.reason = "MemoryLimitReached", .pod = "train"};
    struct agent agent = {.n_states = 0};

    open_socket();
    assert_false(arbitersocket_send_event(sock, &event)); /* nobody listens */
    connect_agent(&agent);
    WAIT_FOR(agent.n_states == 1);
    assert_int_equal(n_agents, 1);
    assert_true(arbitersocket_send_event(sock, &event));
    WAIT_FOR(agent.n_events == 1);
    assert_string_equal(agent.event.pod, "train");
    end_agent(&agent);
}

static void on_status(const struct channel_answer *answer, void *userdata)
{
    char *document = userdata;

    assert_int_equal(answer->result, CHANNEL_ANSWERED);
    snprintf(document, 64, "%s", answer->size ? answer->body : "nothing");
}

static void on_status_up(struct channel *channel, const char *name, void *userdata)
{
    struct agent *agent = userdata;

    (void)name;
    agent->channel = channel;
}

static void test_the_status_is_one_document(void **state)
{
    static const struct channel_options options = {.name = ARBITER_STATUS};
    static const struct connector_callbacks peer_callbacks = {.on_up = on_status_up};
    struct agent peer = {.n_states = 0};
    char document[64] = "", other[64] = "";

    open_socket();
    assert_int_equal(
        connector_new(&loop, path, &options, &peer_callbacks, &peer, &peer.connector, NULL), 0);
    WAIT_FOR(peer.channel);
    assert_int_equal(
        channel_request(peer.channel, ARBITER_STATUS_READ, NULL, 0, 10000, on_status, document), 0);
    assert_int_equal(channel_request(peer.channel, 77, NULL, 0, 10000, on_status, other), 0);
    WAIT_FOR(*other);
    assert_string_equal(document, "{\"mode\": \"observe\"}");
    assert_string_equal(other, "nothing");
    end_agent(&peer);
}

static void test_the_socket_is_for_its_user_alone(void **state)
{
    struct stat status;

    open_socket();
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    arbitersocket_free(sock);
    sock = NULL;
    assert_int_equal(access(path, F_OK), -1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_wish_and_a_state_are_exchanged), TEST(test_a_state_is_sent_when_it_changes),
        TEST(test_each_agent_gets_the_state),        TEST(test_nonsense_leaves_the_mode),
        TEST(test_an_event_reaches_the_agent),       TEST(test_the_status_is_one_document),
        TEST(test_the_socket_is_for_its_user_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
