// SPDX-License-Identifier: Apache-2.0
#include "proc/subprocess.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/log.h"
#include "base/text.h"
#include "proc/blocking.h"

enum { MAX_BODY = 1 << 20 };

/* -- the program that runs as the child: this one, with one of these words ----------------------
 */

static struct blocking_channel agent;

static void say_hello(const char *name)
{
    blocking_init(&agent, SUBPROCESS_FD, MAX_BODY);
    if (blocking_hello(&agent, name) < 0)
        _exit(9);
}

static int echo(int argc, char *argv[])
{
    struct proc_frame frame;

    say_hello(argc > 2 ? argv[2] : "echo");
    while (blocking_receive(&agent, UINT64_MAX, &frame, NULL) == 0) {
        frame.type = frame.type == PROC_FRAME_REQUEST ? PROC_FRAME_ANSWER : PROC_FRAME_NOTICE;
        blocking_send(&agent, &frame);
    }
    return 0;
}

static int die(int argc, char *argv[])
{
    (void)argc, (void)argv;
    return 7;
}

static int send_invalid(int argc, char *argv[])
{
    (void)argc, (void)argv;
    if (write(SUBPROCESS_FD, "hello, I am a line of text\n", 27) != 27)
        return 9;
    pause();
    return 0;
}

/* P5: closes its end, and stays, whatever SIGTERM says. */
static int close_and_stay(int argc, char *argv[])
{
    (void)argc, (void)argv;
    say_hello("ignores-end");
    signal(SIGTERM, SIG_IGN);
    close(SUBPROCESS_FD);
    pause();
    return 0;
}

static int stop(int argc, char *argv[])
{
    (void)argc, (void)argv;
    say_hello("stopped");
    raise(SIGSTOP);
    return 0;
}

/* Writes from the descriptors it inherited behind the channel. */
static int read_inherited(int argc, char *argv[])
{
    char text[16] = "";

    (void)argc, (void)argv;
    say_hello("heir");
    if (read(SUBPROCESS_FD + 2, text, sizeof(text) - 1) < 0)
        return 9;
    blocking_send(&agent, &(struct proc_frame){PROC_FRAME_NOTICE, 1, 0, text, strlen(text)});
    pause();
    return 0;
}

static const struct {
    const char *word;
    int (*run)(int argc, char *argv[]);
} lives[] = {
    {"echo", echo},
    {"die", die},
    {"nonsense", send_invalid},
    {"ignores-end", close_and_stay},
    {"stop", stop},
    {"heir", read_inherited},
};

/* -- the test -------------------------------------------------------------------------------- */

static struct {
    uv_loop_t loop;
    struct subprocess *subprocess;
    const char *word, *argument;
    int fds[2];
    unsigned n_fds;
    unsigned n_prepared, n_retries, n_started, n_up, n_down, n_ended, n_stuck;
    bool refuses_to_prepare, frees_when_down;
    char name[CHANNEL_NAME_SIZE];
    char notice[64];
    char sentence[256]; /* of the last end */
    bool was_steady, was_killed;
} seen;

#define WAIT_FOR(condition)                  \
    do {                                     \
        alarm(60);                           \
        while (!(condition))                 \
            uv_run(&seen.loop, UV_RUN_ONCE); \
        alarm(0);                            \
    } while (0)

static int prepare(struct subprocess_start *start, void *userdata, struct error *err)
{
    (void)userdata;
    seen.n_prepared++;
    seen.n_retries += start->is_retry;
    if (seen.refuses_to_prepare)
        return error_set(err, -EAGAIN, "not now");
    start->arguments[0] = seen.word;
    start->arguments[1] = seen.argument;
    start->n_fds = seen.n_fds;
    memcpy(start->fds, seen.fds, sizeof(seen.fds));
    return 0;
}

static void on_started(void *userdata)
{
    (void)userdata;
    seen.n_started++;
}

static void on_up(struct channel *channel, const char *name, void *userdata)
{
    (void)userdata;
    seen.n_up++;
    snprintf(seen.name, sizeof(seen.name), "%s", name);
    assert_ptr_equal(subprocess_channel(seen.subprocess), channel);
}

static void on_notice(struct channel *channel, uint16_t kind, const char *body, size_t size,
                      void *userdata)
{
    (void)channel, (void)kind, (void)size, (void)userdata;
    snprintf(seen.notice, sizeof(seen.notice), "%s", body);
}

static void on_down(struct channel *channel, void *userdata)
{
    (void)channel, (void)userdata;
    seen.n_down++;
    if (seen.frees_when_down)
        subprocess_free(TAKE_PTR(seen.subprocess));
}

static void on_ended(const struct subprocess_end *end, void *userdata)
{
    (void)userdata;
    seen.n_ended++;
    seen.n_stuck += end->is_stuck;
    seen.was_steady = end->was_steady;
    seen.was_killed = end->was_killed;
    snprintf(seen.sentence, sizeof(seen.sentence), "%s", end->sentence);
}

static const struct subprocess_callbacks callbacks = {
    .prepare = prepare,
    .on_started = on_started,
    .on_up = on_up,
    .on_notice = on_notice,
    .on_down = on_down,
    .on_ended = on_ended,
};

static struct subprocess_options options_of(const char *program)
{
    return (struct subprocess_options){
        .program = program,
        .channel = {.name = "test", .max_body_bytes = MAX_BODY},
        .backoff_last_ms = 200,
        .steady_ms = 100000,
    };
}

static void create(const char *word, const struct subprocess_options *options)
{
    seen.word = word;
    assert_int_equal(subprocess_new(&seen.loop, options, &callbacks, NULL, &seen.subprocess, NULL),
                     0);
}

static void start(const char *word)
{
    const struct subprocess_options options = options_of("/proc/self/exe");

    create(word, &options);
    assert_int_equal(subprocess_start(seen.subprocess, NULL), 0);
}

static int set_up(void **state)
{
    (void)state;
    memset(&seen, 0, sizeof(seen));
    return uv_loop_init(&seen.loop);
}

static int tear_down(void **state)
{
    (void)state;
    subprocess_free(seen.subprocess);
    alarm(30);
    uv_run(&seen.loop, UV_RUN_DEFAULT); /* ends: no handle is left */
    alarm(0);
    return uv_loop_close(&seen.loop);
}

static void on_answer(const struct channel_answer *answer, void *userdata)
{
    snprintf(userdata, 16, "%s", answer->result == CHANNEL_ANSWERED ? answer->body : "(none)");
}

static void it_can_be_talked_to(void **state)
{
    char answer[16] = "";

    (void)state;
    seen.argument = "bird";
    start("echo");
    assert_null(subprocess_channel(seen.subprocess));
    assert_true(subprocess_pid(seen.subprocess) > 0);
    WAIT_FOR(seen.n_up);
    assert_string_equal(seen.name, "bird");
    channel_request(subprocess_channel(seen.subprocess), 1, "hey", 3, 30000, on_answer, answer);
    channel_notify(subprocess_channel(seen.subprocess), 1, CHANNEL_KEEP_ALL, "there", 5);
    WAIT_FOR(*answer && *seen.notice);
    assert_string_equal(answer, "hey");
    assert_string_equal(seen.notice, "there");
    assert_int_equal(seen.n_ended, 0);
}

static void it_is_found_beside_us_and_started_soon(void **state)
{
    char self[PATH_MAX] = "";
    struct subprocess_options options;

    (void)state;
    assert_true(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
    options = options_of(strrchr(self, '/') + 1);
    create("echo", &options);
    subprocess_start_soon(seen.subprocess);
    assert_int_equal(seen.n_started, 0);
    WAIT_FOR(seen.n_up);
}

static void one_that_dies_is_started_again(void **state)
{
    (void)state;
    start("die");
    WAIT_FOR(seen.n_started >= 4);
    assert_true(seen.n_ended >= 3);
    assert_int_equal(seen.n_up, 0);
    assert_string_equal(seen.sentence, "ended with status 7");
    assert_false(seen.was_steady);
}

static void a_retry_knows_that_it_is_one(void **state)
{
    struct subprocess_options options = options_of("/proc/self/exe");

    (void)state;
    options.title = "the test's program";
    create("die", &options);
    subprocess_start_soon(seen.subprocess);
    WAIT_FOR(seen.n_prepared >= 3);
    assert_int_equal(seen.n_retries, seen.n_prepared - 1);
}

static void one_that_lived_is_forgiven(void **state)
{
    struct subprocess_options options = options_of("/proc/self/exe");

    (void)state;
    options.steady_ms = 1;
    options.backoff_first_ms = 1;
    options.backoff_last_ms = 3600000; /* never reached: each lives long enough */
    create("echo", &options);
    subprocess_start_soon(seen.subprocess);
    for (unsigned i = 1; i <= 30; i++) {
        WAIT_FOR(seen.n_up == i);
        poll(NULL, 0, 2);
        kill(subprocess_pid(seen.subprocess), SIGKILL);
        WAIT_FOR(seen.n_ended == i);
        assert_true(seen.was_steady);
        assert_int_equal(seen.n_down, i);
    }
    assert_string_equal(seen.sentence, "ended with signal 9");
}

static void one_that_closes_its_end_and_stays_is_replaced(void **state)
{
    (void)state;
    start("ignores-end");
    WAIT_FOR(seen.n_down);
    WAIT_FOR(seen.n_ended);
    assert_non_null(strstr(seen.sentence, "closed its end of the channel"));
    seen.word = "echo";
    WAIT_FOR(str_equal(seen.name, "echo"));
}

static void one_that_hangs_is_replaced(void **state)
{
    struct subprocess_options options = options_of("/proc/self/exe");

    (void)state;
    options.channel.ping_ms = 50;
    options.channel.pong_ms = 1000;
    create("stop", &options);
    subprocess_start_soon(seen.subprocess);
    WAIT_FOR(seen.n_up);
    seen.word = "echo";
    WAIT_FOR(seen.n_ended);
    assert_non_null(strstr(seen.sentence, "does not answer"));
    WAIT_FOR(str_equal(seen.name, "echo"));
}

static void one_that_sends_invalid_data_is_replaced(void **state)
{
    (void)state;
    start("nonsense");
    WAIT_FOR(seen.n_ended);
    assert_non_null(strstr(seen.sentence, "does not use our protocol"));
    assert_int_equal(seen.n_up, 0);
    assert_int_equal(seen.n_down, 0);
    WAIT_FOR(seen.n_started >= 2);
}

/* A process that sits in the kernel looks like this: killed, and never reaped. */
static void one_that_is_stuck_is_left_behind(void **state)
{
    sigset_t children;
    pid_t pid;

    (void)state;
    start("echo");
    WAIT_FOR(seen.n_up);
    pid = subprocess_pid(seen.subprocess);
    sigemptyset(&children);
    sigaddset(&children, SIGCHLD);
    sigprocmask(SIG_BLOCK, &children, NULL);
    subprocess_kill(seen.subprocess);
    assert_int_equal(seen.n_down, 1);
    WAIT_FOR(seen.n_stuck);
    assert_true(seen.was_killed);
    WAIT_FOR(seen.n_up == 2);
    assert_int_not_equal(subprocess_pid(seen.subprocess), pid);
    sigprocmask(SIG_UNBLOCK, &children, NULL);
    WAIT_FOR(seen.n_ended == 1); /* it ended at last */
}

/* The loop comes back after all deadlines: the process ended in time, and we learn it late. */
static void one_that_ended_before_we_look_is_not_stuck(void **state)
{
    siginfo_t end;

    (void)state;
    start("echo");
    WAIT_FOR(seen.n_up);
    subprocess_kill(seen.subprocess);
    assert_int_equal(waitid(P_PID, (id_t)subprocess_pid(seen.subprocess), &end, WEXITED | WNOWAIT),
                     0);
    poll(NULL, 0, 2100);
    WAIT_FOR(seen.n_ended);
    assert_int_equal(seen.n_stuck, 0);
    assert_string_equal(seen.sentence, "ended with signal 9");
}

static void it_may_be_let_end(void **state)
{
    (void)state;
    start("echo");
    WAIT_FOR(seen.n_up);
    subprocess_let_end(seen.subprocess);
    kill(subprocess_pid(seen.subprocess), SIGTERM);
    WAIT_FOR(seen.n_ended);
    alarm(30);
    uv_run(&seen.loop, UV_RUN_DEFAULT); /* ends: nothing is awaited any more */
    assert_int_equal(seen.n_started, 1);
}

static void it_does_not_outlive_its_owner(void **state)
{
    unsigned n_down;
    int status;
    pid_t pid;

    (void)state;
    start("ignores-end"); /* which ends by nothing but SIGKILL */
    WAIT_FOR(seen.n_up);
    pid = subprocess_pid(seen.subprocess);
    n_down = seen.n_down; /* its end of the channel may be closed by now */
    subprocess_free(TAKE_PTR(seen.subprocess));
    alarm(30);
    uv_run(&seen.loop, UV_RUN_DEFAULT);
    /* Reaped, unless this machine takes seconds to end it. */
    assert_true((waitpid(pid, &status, 0) < 0 && errno == ECHILD) ||
                (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
    alarm(0);
    assert_int_equal(seen.n_down, n_down);
    assert_int_equal(seen.n_ended, 0);
}

static void it_may_be_freed_from_within(void **state)
{
    (void)state;
    start("echo");
    WAIT_FOR(seen.n_up);
    seen.frees_when_down = true;
    kill(subprocess_pid(seen.subprocess), SIGKILL);
    WAIT_FOR(!seen.subprocess);
    assert_int_equal(seen.n_ended, 0);
}

static void it_inherits_descriptors(void **state)
{
    int fds[2];

    (void)state;
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], "legacy", 6), 6);
    seen.fds[0] = fds[1];
    seen.fds[1] = fds[0];
    seen.n_fds = 2;
    start("heir");
    WAIT_FOR(*seen.notice);
    assert_string_equal(seen.notice, "legacy");
    close(fds[0]);
    close(fds[1]);
}

static void a_missing_program_is_an_error_at_first_and_retried_later(void **state)
{
    const struct subprocess_options options = options_of("/nonexistent/gpuslice-node");
    struct error err = ERROR_INIT;

    (void)state;
    create("echo", &options);
    assert_int_equal(subprocess_start(seen.subprocess, &err), -ENOENT);
    assert_non_null(strstr(error_text(&err), "/nonexistent/gpuslice-node"));
    assert_int_equal(seen.n_started, 0);
    subprocess_start_soon(seen.subprocess);
    WAIT_FOR(seen.n_ended >= 2);
    assert_non_null(strstr(seen.sentence, "/nonexistent/gpuslice-node"));
}

static void what_cannot_be_prepared_is_tried_again(void **state)
{
    const struct subprocess_options options = options_of("/proc/self/exe");

    (void)state;
    seen.refuses_to_prepare = true;
    create("echo", &options);
    subprocess_start_soon(seen.subprocess);
    WAIT_FOR(seen.n_prepared >= 2);
    assert_string_equal(seen.sentence, "not now");
    assert_int_equal(seen.n_started, 0);
    seen.refuses_to_prepare = false;
    WAIT_FOR(seen.n_up);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char *argv[])
{
    const struct CMUnitTest tests[] = {
        CASE(it_can_be_talked_to),
        CASE(it_is_found_beside_us_and_started_soon),
        CASE(one_that_dies_is_started_again),
        CASE(a_retry_knows_that_it_is_one),
        CASE(one_that_lived_is_forgiven),
        CASE(one_that_closes_its_end_and_stays_is_replaced),
        CASE(one_that_hangs_is_replaced),
        CASE(one_that_sends_invalid_data_is_replaced),
        CASE(one_that_is_stuck_is_left_behind),
        CASE(one_that_ended_before_we_look_is_not_stuck),
        CASE(it_may_be_let_end),
        CASE(it_does_not_outlive_its_owner),
        CASE(it_may_be_freed_from_within),
        CASE(it_inherits_descriptors),
        CASE(a_missing_program_is_an_error_at_first_and_retried_later),
        CASE(what_cannot_be_prepared_is_tried_again),
    };

    for (size_t i = 0; argc > 1 && i < ARRAY_SIZE(lives); i++)
        if (str_equal(argv[1], lives[i].word)) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            return lives[i].run(argc, argv);
        }
    return cmocka_run_group_tests_name("proc/subprocess", tests, NULL, NULL);
}
