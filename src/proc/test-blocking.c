// SPDX-License-Identifier: Apache-2.0
#include "proc/blocking.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"

enum { LIMIT = 1 << 20, N_THREADS = 2, N_FRAMES = 200 };

static struct blocking_channel a, b;

static int set_up(void **state)
{
    int fds[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    blocking_init(&a, fds[0], LIMIT);
    blocking_init(&b, fds[1], LIMIT);
    alarm(30);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    alarm(0);
    close(a.fd);
    close(b.fd);
    blocking_deinit(&a);
    blocking_deinit(&b);
    return 0;
}

static void *send_frames(void *userdata)
{
    static char bodies[N_THREADS][300000];
    char *body = bodies[*(int *)userdata];

    memset(body, 'a' + *(int *)userdata, sizeof(bodies[0]));
    for (int i = 0; i < N_FRAMES; i++) {
        const struct proc_frame frame = {PROC_FRAME_NOTICE, (uint16_t)i, 0, body,
                                         (size_t)(i % 5) * 60000};

        if (blocking_send(&a, &frame) < 0)
            abort();
    }
    return NULL;
}

/* Also over a socket that is non-blocking, as an inherited one may be. */
static void two_threads_send_whole_frames(void **state)
{
    pthread_t threads[N_THREADS];
    int numbers[N_THREADS] = {0, 1};
    unsigned n_next[N_THREADS] = {0, 0}, n_empty = 0;

    (void)state;
    fcntl(a.fd, F_SETFL, O_NONBLOCK);
    for (int i = 0; i < N_THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, send_frames, &numbers[i]), 0);
    for (int i = 0; i < N_THREADS * N_FRAMES; i++) {
        struct proc_frame frame;
        const char *body;

        assert_int_equal(blocking_receive(&b, UINT64_MAX, &frame, NULL), 0);
        body = frame.body;
        n_empty += frame.size == 0;
        if (frame.size == 0)
            continue;
        assert_true(frame.kind >= n_next[body[0] - 'a']);
        n_next[body[0] - 'a'] = frame.kind + 1u;
        for (size_t k = 0; k < frame.size; k += 997)
            assert_int_equal(body[k], body[0]);
    }
    assert_int_equal(n_empty, N_THREADS * N_FRAMES / 5);
    for (int i = 0; i < N_THREADS; i++)
        pthread_join(threads[i], NULL);
}

static void pings_are_answered_on_the_way(void **state)
{
    struct proc_frame frame;
    struct error err = ERROR_INIT;

    (void)state;
    assert_int_equal(blocking_hello(&a, "one"), 0);
    blocking_send(&a, &(struct proc_frame){.type = PROC_FRAME_PING, .id = 5});
    assert_int_equal(blocking_receive(&b, 0, &frame, &err), BLOCKING_TIMEOUT);
    assert_int_equal(recv(a.fd, (char[32]){0}, 32, MSG_DONTWAIT), PROC_FRAME_HEADER_BYTES);
    blocking_send(&a, &(struct proc_frame){PROC_FRAME_REQUEST, 3, 9, "hey", 3});
    assert_int_equal(blocking_receive(&b, UINT64_MAX, &frame, &err), 0);
    assert_int_equal(frame.type, PROC_FRAME_REQUEST);
    assert_int_equal(frame.id, 9);
    assert_string_equal(frame.body, "hey");
}

static void a_timeout_loses_nothing(void **state)
{
    uint8_t header[PROC_FRAME_HEADER_BYTES];
    struct proc_frame frame;
    const uint64_t began_ms = clock_now_ms();

    (void)state;
    proc_frame_write_header(&(struct proc_frame){PROC_FRAME_ANSWER, 1, 2, NULL, 4}, header);
    assert_int_equal(write(a.fd, header, 10), 10);
    assert_int_equal(blocking_receive(&b, began_ms + 30, &frame, NULL), BLOCKING_TIMEOUT);
    assert_true(clock_now_ms() >= began_ms + 30);
    assert_int_equal(write(a.fd, header + 10, 6), 6);
    assert_int_equal(write(a.fd, "do", 2), 2);
    assert_int_equal(blocking_receive(&b, 0, &frame, NULL), BLOCKING_TIMEOUT);
    assert_int_equal(write(a.fd, "ne", 2), 2);
    assert_int_equal(blocking_receive(&b, UINT64_MAX, &frame, NULL), 0);
    assert_string_equal(frame.body, "done");
}

/* The program may be executed again between two frames. */
static void nothing_is_read_ahead(void **state)
{
    struct blocking_channel again;
    struct proc_frame frame;

    (void)state;
    blocking_send(&a, &(struct proc_frame){PROC_FRAME_NOTICE, 1, 0, "first", 5});
    blocking_send(&a, &(struct proc_frame){PROC_FRAME_NOTICE, 2, 0, "second", 6});
    assert_int_equal(blocking_receive(&b, UINT64_MAX, &frame, NULL), 0);
    blocking_init(&again, b.fd, LIMIT);
    assert_int_equal(blocking_receive(&again, UINT64_MAX, &frame, NULL), 0);
    assert_string_equal(frame.body, "second");
    blocking_deinit(&again);
}

static void the_end_and_nonsense_are_told_apart(void **state)
{
    struct error err = ERROR_INIT;
    struct proc_frame frame;

    (void)state;
    assert_int_equal(write(a.fd, "0123456789abcdef", 16), 16);
    assert_int_equal(blocking_receive(&b, UINT64_MAX, &frame, &err), -EPROTO);
    assert_non_null(strstr(error_text(&err), "does not use our protocol"));
    proc_frame_reader_next(&b.reader);
    shutdown(a.fd, SHUT_RDWR);
    assert_int_equal(blocking_receive(&b, UINT64_MAX, &frame, &err), -ENODATA);
    assert_int_equal(blocking_send(&b, &(struct proc_frame){.type = PROC_FRAME_PING}), -EPIPE);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(two_threads_send_whole_frames),
        CASE(pings_are_answered_on_the_way),
        CASE(a_timeout_loses_nothing),
        CASE(nothing_is_read_ahead),
        CASE(the_end_and_nonsense_are_told_apart),
    };

    return cmocka_run_group_tests_name("proc/blocking", tests, NULL, NULL);
}
