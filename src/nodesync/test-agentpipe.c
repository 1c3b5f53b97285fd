// SPDX-License-Identifier: Apache-2.0
#include "nodesync/agentpipe.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static uv_loop_t loop;
static struct agentpipe *pair;
static int agent; /* the other end */

static struct {
    unsigned n_messages, n_ends;
    char reasons[256]; /* of the events heard, in order */
    int r;
    char sentence[512];
} heard;

static void on_message(struct sync_message *message, void *userdata)
{
    heard.n_messages++;
    if (message->kind == SYNC_EVENT)
        strncat(heard.reasons, message->event.reason,
                sizeof(heard.reasons) - strlen(heard.reasons) - 1);
}

static void on_end(int r, const struct error *err, void *userdata)
{
    heard.n_ends++;
    heard.r = r;
    snprintf(heard.sentence, sizeof(heard.sentence), "%s", error_text(err));
}

static int set_up(void **state)
{
    static const struct agentpipe_events events = {on_message, on_end};
    int fds[2];

    memset(&heard, 0, sizeof(heard));
    uv_loop_init(&loop);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    agent = fds[0];
    assert_int_equal(agentpipe_new(&loop, fds[1], &events, NULL, &pair, NULL), 0);
    return 0;
}

static int tear_down(void **state)
{
    agentpipe_free(pair);
    uv_run(&loop, UV_RUN_DEFAULT);
    if (agent >= 0)
        close(agent);
    return uv_loop_close(&loop);
}

static void agent_says(const char *bytes, size_t size)
{
    assert_int_equal(write(agent, bytes, size), size);
}

/* In whatever pieces they come. */
static void cuts_lines(void **state)
{
    static const char text[] = "{\"kind\":\"event\",\"reason\":\"A\"}\n"
                               "{\"kind\":\"event\",\"reason\":\"B\"}\n{\"kind\":\"bye\"}\n";

    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        agent_says(text + i, 1);
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    agent_says(text, sizeof(text) - 1);
    while (heard.n_messages < 6)
        uv_run(&loop, UV_RUN_ONCE);
    assert_string_equal(heard.reasons, "ABAB");
    close(agent);
    agent = -1;
    while (!heard.n_ends)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(heard.r, 0);
}

static void nonsense_is_the_end(void **state)
{
    static const char text[] = "{\"kind\":\"event\",\"reason\":\"A\"}\nhello\n{\"kind\":\"bye\"}\n";

    agent_says(text, sizeof(text) - 1);
    while (!heard.n_ends)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(heard.n_messages, 1);
    assert_int_equal(heard.r, -EBADMSG);
    assert_string_not_equal(heard.sentence, "no error");
}

static void a_line_has_a_bound(void **state)
{
    static char spaces[1 << 16];
    size_t written = 0;

    memset(spaces, ' ', sizeof(spaces));
    fcntl(agent, F_SETFL, O_NONBLOCK);
    while (!heard.n_ends && written < 4 * SYNC_LINE_MAX) {
        const ssize_t n = write(agent, spaces, sizeof(spaces));

        written += n > 0 ? (size_t)n : 0;
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    assert_int_equal(heard.r, -EBADMSG);
    assert_true(written > SYNC_LINE_MAX);
}

/* An agent that does not listen hears the newest when it does. */
static void says_the_newest(void **state)
{
    char key[] = "a";
    struct sync_label label = {.key = key};
    struct sync_news news = {.labels = &label, .n_labels = 1};
    struct sync_message message = {.kind = SYNC_NEWS};
    char value[16], line[512];
    size_t length = 0;
    ssize_t n;

    for (int i = 0; i < 50000; i++) {
        snprintf(value, sizeof(value), "v%d", i / 2); /* each twice: it is said once */
        label.value = value;
        message.news = news;
        assert_int_equal(agentpipe_send(pair, &message), 0);
    }
    fcntl(agent, F_SETFL, O_NONBLOCK);
    memset(line, 0, sizeof(line));
    while (!strstr(line, "v24999")) {
        uv_run(&loop, UV_RUN_NOWAIT);
        n = read(agent, line, sizeof(line) - 1);
        length += n > 0 ? (size_t)n : 0;
        assert_true(n >= 0 || errno == EAGAIN);
        line[n > 0 ? n : 0] = '\0';
    }
    assert_in_range(length, 1, 25000 * 120);
}

/* The loop goes on: it must not keep what was given up. */
static void a_pair_that_is_none_is_refused(void **state)
{
    static const struct agentpipe_events events = {on_message, on_end};
    struct error err = ERROR_INIT;
    struct agentpipe *none = NULL;

    assert_int_equal(agentpipe_new(&loop, -1, &events, NULL, &none, &err), -EBADF);
    assert_null(none);
    assert_non_null(strstr(error_text(&err), "cannot hear the agent"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(cuts_lines, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nonsense_is_the_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_line_has_a_bound, set_up, tear_down),
        cmocka_unit_test_setup_teardown(says_the_newest, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_pair_that_is_none_is_refused, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("nodesync/agentpipe", tests, NULL, NULL);
}
