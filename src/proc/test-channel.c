// SPDX-License-Identifier: Apache-2.0
#include "proc/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/text.h"
#include "proc/frame.h"

/* One end of a channel, and what it received. */
struct side {
    struct channel *channel;
    struct text log; /* "hello:b notice:1:text request:1:text drain end:reason" */
    unsigned n_notices, n_ends;
    enum channel_end end;
    char sentence[256];
    uint32_t request_id;
    bool frees_at_notice, answers_at_once;
    bool is_busy;
};

struct result {
    unsigned n;
    struct channel_answer answer;
    char body[64];
};

static uv_loop_t loop;
static struct side a, b;
static int raw; /* the peer of `a` where a test plays it by hand; -1 = none */

static const struct channel_options plain = {.name = "test"};

#define WAIT_FOR(condition)             \
    do {                                \
        alarm(30);                      \
        while (!(condition))            \
            uv_run(&loop, UV_RUN_ONCE); \
        alarm(0);                       \
    } while (0)

static void on_hello(struct channel *channel, const char *name, void *userdata)
{
    struct side *side = userdata;

    text_addf(&side->log, "hello:%s ", name);
    assert_string_equal(channel_peer(channel), name);
}

static void on_notice(struct channel *channel, uint16_t kind, const char *body, size_t size,
                      void *userdata)
{
    struct side *side = userdata;

    assert_int_equal(strlen(body), size);
    side->n_notices++;
    if (size < 32)
        text_addf(&side->log, "notice:%u:%s ", kind, body);
    if (side->frees_at_notice) {
        channel_free(channel);
        side->channel = NULL;
    }
}

static void on_request(struct channel *channel, uint32_t id, uint16_t kind, const char *body,
                       size_t size, void *userdata)
{
    struct side *side = userdata;

    text_addf(&side->log, "request:%u:%s ", kind, body);
    side->request_id = id;
    if (side->answers_at_once)
        assert_int_equal(channel_answer(channel, id, kind, body, size), 0);
}

static void on_drain(struct channel *channel, void *userdata)
{
    assert_true(channel_is_drained(channel));
    text_add(&((struct side *)userdata)->log, "drain ");
}

static void on_end(struct channel *channel, enum channel_end end, const char *sentence,
                   void *userdata)
{
    struct side *side = userdata;

    side->n_ends++;
    side->end = end;
    snprintf(side->sentence, sizeof(side->sentence), "%s", sentence);
    channel_free(channel);
    side->channel = NULL;
}

static bool is_busy(void *userdata)
{
    return ((struct side *)userdata)->is_busy;
}

static void on_done(const struct channel_answer *answer, void *userdata)
{
    struct result *result = userdata;

    result->n++;
    result->answer = *answer;
    snprintf(result->body, sizeof(result->body), "%s", answer->body ? answer->body : "(none)");
}

static void open_side(struct side *side, int fd, const struct channel_options *options)
{
    static const struct channel_callbacks callbacks = {on_hello, on_notice, on_request, on_drain,
                                                       on_end};

    assert_int_equal(channel_new(&loop, fd, options, &callbacks, side, &side->channel, NULL), 0);
}

static void open_pair(const struct channel_options *options_a,
                      const struct channel_options *options_b)
{
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    open_side(&a, fds[0], options_a);
    open_side(&b, fds[1], options_b);
    WAIT_FOR(channel_peer(a.channel) && channel_peer(b.channel));
    text_clear(&a.log);
    text_clear(&b.log);
}

static void open_raw(const struct channel_options *options)
{
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    open_side(&a, fds[0], options);
    raw = fds[1];
}

static void send_raw(const struct proc_frame *frame)
{
    uint8_t header[PROC_FRAME_HEADER_BYTES];

    proc_frame_write_header(frame, header);
    assert_int_equal(send(raw, header, sizeof(header), MSG_NOSIGNAL), sizeof(header));
    if (frame->size)
        assert_int_equal(send(raw, frame->body, frame->size, MSG_NOSIGNAL), frame->size);
}

static void say_hello(void)
{
    send_raw(&(struct proc_frame){PROC_FRAME_HELLO, 0, 0, "raw", 3});
    WAIT_FOR(channel_peer(a.channel));
}

static int set_up(void **state)
{
    (void)state;
    memset(&a, 0, sizeof(a));
    memset(&b, 0, sizeof(b));
    raw = -1;
    return uv_loop_init(&loop);
}

static int tear_down(void **state)
{
    (void)state;
    channel_free(a.channel);
    channel_free(b.channel);
    alarm(30);
    uv_run(&loop, UV_RUN_DEFAULT); /* ends: no handle is left */
    alarm(0);
    text_deinit(&a.log);
    text_deinit(&b.log);
    if (raw >= 0)
        close(raw);
    return uv_loop_close(&loop);
}

/* -- notices --------------------------------------------------------------------------------- */

static void both_say_hello(void **state)
{
    int fds[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    open_side(&a, fds[0], &(struct channel_options){.name = "one"});
    open_side(&b, fds[1], &(struct channel_options){.name = "two"});
    assert_null(channel_peer(a.channel));
    WAIT_FOR(channel_peer(a.channel) && channel_peer(b.channel));
    assert_string_equal(text_string(&a.log), "hello:two ");
    assert_string_equal(text_string(&b.log), "hello:one ");
}

static void notices_go_both_ways(void **state)
{
    (void)state;
    open_pair(&plain, &plain);
    assert_int_equal(channel_notify(a.channel, 1, CHANNEL_KEEP_ALL, "ping", 4), 0);
    assert_int_equal(channel_notify(a.channel, 2, CHANNEL_KEEP_ALL, NULL, 0), 0);
    assert_int_equal(channel_notify(b.channel, 3, CHANNEL_KEEP_ALL, "pong", 4), 0);
    WAIT_FOR(a.n_notices == 1 && b.n_notices == 2);
    assert_string_equal(text_string(&b.log), "notice:1:ping notice:2: ");
    assert_string_equal(text_string(&a.log), "notice:3:pong ");
}

static void what_a_peer_does_not_read_has_a_bound(void **state)
{
    const struct channel_options options = {
        .name = "test", .max_queued_bytes = 1 << 20, .max_notices = 8};
    static char body[1 << 16];
    unsigned n_dropped = 0;

    (void)state;
    memset(body, 'x', sizeof(body));
    open_raw(&options);
    say_hello();
    for (unsigned i = 0; i < 200; i++) {
        const int r = channel_notify(a.channel, 1, CHANNEL_KEEP_ALL, body, sizeof(body));

        assert_true(r == 0 || r == -ENOBUFS);
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    n_dropped = (unsigned)channel_n_dropped(a.channel);
    assert_in_range(n_dropped, 150, 199);
    assert_int_equal(channel_notify(a.channel, 1, CHANNEL_KEEP_ALL, body, 2 << 20), -EMSGSIZE);
    assert_int_equal(a.n_ends, 0);
}

static void it_drains_once_the_peer_reads(void **state)
{
    static char body[1 << 20];
    static char sink[1 << 16];

    (void)state;
    memset(body, 'x', sizeof(body));
    open_raw(&plain);
    say_hello();
    text_clear(&a.log);
    assert_int_equal(channel_notify(a.channel, 1, CHANNEL_KEEP_ALL, body, sizeof(body)), 0);
    assert_false(channel_is_drained(a.channel));
    fcntl(raw, F_SETFL, O_NONBLOCK);
    while (!channel_is_drained(a.channel)) {
        while (read(raw, sink, sizeof(sink)) > 0)
            ;
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    assert_string_equal(text_string(&a.log), "drain ");
}

/* -- requests -------------------------------------------------------------------------------- */

static void a_request_is_answered(void **state)
{
    struct result result = {.n = 0};

    (void)state;
    open_pair(&plain, &plain);
    b.answers_at_once = true;
    assert_int_equal(channel_request(a.channel, 7, "what", 4, 30000, on_done, &result), 0);
    WAIT_FOR(result.n);
    assert_int_equal(result.answer.result, CHANNEL_ANSWERED);
    assert_int_equal(result.answer.kind, 7);
    assert_string_equal(result.body, "what");
}

static void an_answer_may_come_later_and_in_any_order(void **state)
{
    struct result first = {.n = 0}, second = {.n = 0};
    uint32_t id;

    (void)state;
    open_pair(&plain, &plain);
    channel_request(a.channel, 1, "1", 1, 30000, on_done, &first);
    WAIT_FOR(b.request_id);
    id = b.request_id;
    channel_request(a.channel, 2, "2", 1, 30000, on_done, &second);
    WAIT_FOR(b.request_id != id);
    assert_int_equal(channel_answer(b.channel, b.request_id, 200, "zwei", 4), 0);
    assert_int_equal(channel_answer(b.channel, id, 404, "eins", 4), 0);
    assert_int_equal(channel_answer(b.channel, id, 404, "again", 5), -ENOENT);
    WAIT_FOR(first.n && second.n);
    assert_string_equal(first.body, "eins");
    assert_int_equal(first.answer.kind, 404);
    assert_string_equal(second.body, "zwei");
}

static void a_request_has_a_deadline(void **state)
{
    struct result result = {.n = 0}, other = {.n = 0};

    (void)state;
    open_pair(&plain, &plain);
    channel_request(a.channel, 1, "slow", 4, 20, on_done, &result);
    WAIT_FOR(result.n);
    assert_int_equal(result.answer.result, CHANNEL_TIMED_OUT);
    /* The late answer disturbs nobody. */
    WAIT_FOR(b.request_id);
    assert_int_equal(channel_answer(b.channel, b.request_id, 1, "late", 4), 0);
    b.answers_at_once = true;
    channel_request(a.channel, 1, "next", 4, 30000, on_done, &other);
    WAIT_FOR(other.n);
    assert_string_equal(other.body, "next");
    assert_int_equal(result.n, 1);
}

static void requests_end_with_the_channel(void **state)
{
    struct result freed = {.n = 0}, ended = {.n = 0};

    (void)state;
    open_pair(&plain, &plain);
    channel_request(a.channel, 1, "x", 1, 30000, on_done, &freed);
    channel_request(b.channel, 1, "y", 1, 30000, on_done, &ended);
    channel_free(a.channel);
    a.channel = NULL;
    assert_int_equal(freed.n, 1);
    assert_int_equal(freed.answer.result, CHANNEL_CLOSED);
    WAIT_FOR(b.n_ends);
    assert_int_equal(ended.n, 1);
    assert_int_equal(ended.answer.result, CHANNEL_CLOSED);
}

static void open_requests_have_a_bound(void **state)
{
    static struct result results[CHANNEL_MAX_CALLS + 1];
    struct result refused = {.n = 0};

    (void)state;
    memset(results, 0, sizeof(results));
    open_pair(&plain, &plain);
    for (unsigned i = 0; i < CHANNEL_MAX_CALLS; i++)
        assert_int_equal(
            channel_request(a.channel, 1, "x", 1, i ? 30000 : 20, on_done, &results[i]), 0);
    assert_int_equal(channel_request(a.channel, 1, "x", 1, 30000, on_done, &refused), -ENOBUFS);
    /* One is given up on this side; the peer still has as many as it takes. */
    WAIT_FOR(results[0].n);
    assert_int_equal(channel_request(a.channel, 1, "x", 1, 30000, on_done, &refused), 0);
    WAIT_FOR(refused.n);
    assert_int_equal(refused.answer.result, CHANNEL_REFUSED);
}

/* -- ends ------------------------------------------------------------------------------------ */

static void the_end_of_the_peer_is_reported_once(void **state)
{
    (void)state;
    open_raw(&plain);
    say_hello();
    send_raw(&(struct proc_frame){PROC_FRAME_NOTICE, 1, 0, "last words", 10});
    close(raw);
    raw = -1;
    assert_int_equal(channel_notify(a.channel, 1, CHANNEL_KEEP_ALL, "too late", 8), 0);
    WAIT_FOR(a.n_ends);
    assert_int_equal(a.end, CHANNEL_EOF);
    assert_non_null(strstr(text_string(&a.log), "last words"));
    assert_int_equal(a.n_ends, 1);
}

/* A peer that only closes its receiving half cannot answer, and is given up. */
static void a_peer_that_does_not_receive_is_gone(void **state)
{
    (void)state;
    open_raw(&plain);
    say_hello();
    shutdown(raw, SHUT_RD);
    channel_notify(a.channel, 1, CHANNEL_KEEP_ALL, "hey", 3);
    WAIT_FOR(a.n_ends);
    assert_int_equal(a.end, CHANNEL_EOF);
}

static void nonsense_ends_it_with_a_sentence(void **state)
{
    static const struct {
        struct proc_frame frame;
        const char *sentence;
    } cases[] = {
        {{PROC_FRAME_NOTICE, 1, 0, "too early", 9}, "did not say hello first"},
        {{PROC_FRAME_HELLO, 0, 0, "", 0}, "hello has no name"},
        {{PROC_FRAME_HELLO, 0, 0,
          "a name longer than the sixty-four characters that a name may have at the very most", 81},
         "too long"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        a.n_ends = 0;
        open_raw(&plain);
        send_raw(&cases[i].frame);
        WAIT_FOR(a.n_ends);
        assert_int_equal(a.end, CHANNEL_PROTOCOL);
        assert_non_null(strstr(a.sentence, cases[i].sentence));
        close(raw);
    }
    open_raw(&plain);
    assert_int_equal(write(raw, "{\"kind\":\"news\"}\n", 16), 16);
    a.n_ends = 0;
    WAIT_FOR(a.n_ends);
    assert_int_equal(a.end, CHANNEL_PROTOCOL);
    (void)state;
}

static void the_owner_may_end_it(void **state)
{
    (void)state;
    open_pair(&plain, &plain);
    channel_abort(a.channel, "enough");
    assert_int_equal(a.n_ends, 0); /* not from within */
    assert_int_equal(channel_notify(a.channel, 1, CHANNEL_KEEP_ALL, "x", 1), -EPIPE);
    WAIT_FOR(a.n_ends && b.n_ends);
    assert_int_equal(a.end, CHANNEL_END_BY_US);
    assert_string_equal(a.sentence, "enough");
    assert_int_equal(b.end, CHANNEL_EOF);
}

static void it_may_be_freed_while_it_reports(void **state)
{
    (void)state;
    open_pair(&plain, &plain);
    b.frees_at_notice = true;
    channel_notify(a.channel, 1, CHANNEL_KEEP_ALL, "x", 1);
    channel_notify(a.channel, 1, CHANNEL_KEEP_ALL, "y", 1);
    WAIT_FOR(a.n_ends);
    assert_int_equal(b.n_notices, 1);
    assert_int_equal(b.n_ends, 0);
}

/* -- heartbeat ------------------------------------------------------------------------------- */

static const struct channel_options beating = {
    .name = "test", .ping_ms = 20, .pong_ms = 200, .is_busy = is_busy};

static void a_peer_that_lives_stays(void **state)
{
    struct result result = {.n = 0};

    (void)state;
    open_pair(&beating, &plain);
    /* Many pings later. */
    channel_request(a.channel, 1, "x", 1, 500, on_done, &result);
    WAIT_FOR(result.n);
    assert_int_equal(result.answer.result, CHANNEL_TIMED_OUT);
    assert_int_equal(a.n_ends, 0);
}

static void a_peer_that_hangs_is_noticed(void **state)
{
    (void)state;
    open_raw(&beating);
    say_hello();
    WAIT_FOR(a.n_ends);
    assert_int_equal(a.end, CHANNEL_HANGS);
    assert_string_equal(a.sentence, "the peer does not answer");
}

static void a_peer_that_never_says_hello_is_noticed(void **state)
{
    (void)state;
    open_raw(&beating);
    WAIT_FOR(a.n_ends);
    assert_int_equal(a.end, CHANNEL_HANGS);
    assert_non_null(strstr(a.sentence, "never said hello"));
}

/* The driver helper in a call: a guard watches over that. */
static void a_peer_known_to_be_busy_gets_more_time(void **state)
{
    const struct channel_options options = {
        .name = "test", .ping_ms = 5, .pong_ms = 20, .is_busy = is_busy};
    struct result result = {.n = 0};

    (void)state;
    open_raw(&options);
    say_hello();
    a.is_busy = true;
    channel_request(a.channel, 1, "x", 1, 300, on_done, &result);
    WAIT_FOR(result.n);
    assert_int_equal(a.n_ends, 0);
    a.is_busy = false;
    WAIT_FOR(a.n_ends);
    assert_int_equal(a.end, CHANNEL_HANGS);
}

/* A loop that stood still finds deadlines over, and the answers in the socket. */
static void what_came_in_time_counts_when_we_were_late(void **state)
{
    struct result result = {.n = 0};

    (void)state;
    open_raw(&beating);
    say_hello();
    assert_int_equal(channel_request(a.channel, 1, "x", 1, 50, on_done, &result), 0);
    send_raw(&(struct proc_frame){PROC_FRAME_ANSWER, 9, 1, "yes", 3});
    poll(NULL, 0, 400); /* this process sleeps; nothing is awaited here */
    WAIT_FOR(result.n);
    assert_int_equal(result.answer.result, CHANNEL_ANSWERED);
    assert_string_equal(result.body, "yes");
    assert_int_equal(a.n_ends, 0);
}

/* -- a peer gone mad ------------------------------------------------------------------------- */

static void count_turn(uv_check_t *check)
{
    (*(unsigned *)check->data)++;
}

static void a_turn_of_the_loop_reads_a_share(void **state)
{
    uint8_t header[PROC_FRAME_HEADER_BYTES];
    static uv_check_t check; /* closed by the tear-down's turns */
    unsigned n_turns = 0, n_sent = 0;

    (void)state;
    open_raw(&plain);
    say_hello();
    proc_frame_write_header(&(struct proc_frame){.type = PROC_FRAME_NOTICE, .kind = 1}, header);
    fcntl(raw, F_SETFL, O_NONBLOCK);
    while (n_sent < 1000 && send(raw, header, sizeof(header), MSG_NOSIGNAL) == sizeof(header))
        n_sent++;
    assert_true(n_sent > 3 * CHANNEL_FRAMES_PER_TURN);
    uv_check_init(&loop, &check);
    check.data = &n_turns;
    uv_check_start(&check, count_turn);
    WAIT_FOR(a.n_notices == n_sent);
    /* A header is one call of at most two for each frame. */
    assert_true(n_turns >= n_sent / (2 * CHANNEL_FRAMES_PER_TURN));
    uv_check_stop(&check);
    uv_close((uv_handle_t *)&check, NULL);
}

/* Pings nobody reads the answers of: what waits stays small, and others are served meanwhile. */
static void a_flood_of_pings_costs_little(void **state)
{
    const struct channel_options options = {.name = "test", .max_queued_bytes = 4096};
    uint8_t header[PROC_FRAME_HEADER_BYTES];
    unsigned n_blocked = 0;

    (void)state;
    open_raw(&options);
    say_hello();
    proc_frame_write_header(&(struct proc_frame){.type = PROC_FRAME_PING}, header);
    fcntl(raw, F_SETFL, O_NONBLOCK);
    while (n_blocked < 1000) {
        n_blocked += send(raw, header, sizeof(header), MSG_NOSIGNAL) < 0;
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    assert_int_equal(a.n_ends, 0);
    assert_int_equal(channel_notify(a.channel, 1, CHANNEL_KEEP_ALL, "x", 4096), -ENOBUFS);
}

static void a_socket_that_is_none_is_refused(void **state)
{
    static const struct channel_callbacks none = {NULL};
    struct error err = ERROR_INIT;
    struct channel *channel = NULL;

    (void)state;
    assert_int_equal(channel_new(&loop, -1, &plain, &none, NULL, &channel, &err), -EBADF);
    assert_null(channel);
    assert_non_null(strstr(error_text(&err), "cannot open a channel"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(both_say_hello),
        CASE(notices_go_both_ways),
        CASE(what_a_peer_does_not_read_has_a_bound),
        CASE(it_drains_once_the_peer_reads),
        CASE(a_request_is_answered),
        CASE(an_answer_may_come_later_and_in_any_order),
        CASE(a_request_has_a_deadline),
        CASE(requests_end_with_the_channel),
        CASE(open_requests_have_a_bound),
        CASE(the_end_of_the_peer_is_reported_once),
        CASE(a_peer_that_does_not_receive_is_gone),
        CASE(nonsense_ends_it_with_a_sentence),
        CASE(the_owner_may_end_it),
        CASE(it_may_be_freed_while_it_reports),
        CASE(a_peer_that_lives_stays),
        CASE(a_peer_that_hangs_is_noticed),
        CASE(a_peer_that_never_says_hello_is_noticed),
        CASE(a_peer_known_to_be_busy_gets_more_time),
        CASE(what_came_in_time_counts_when_we_were_late),
        CASE(a_turn_of_the_loop_reads_a_share),
        CASE(a_flood_of_pings_costs_little),
        CASE(a_socket_that_is_none_is_refused),
    };

    return cmocka_run_group_tests_name("proc/channel", tests, NULL, NULL);
}
