// SPDX-License-Identifier: Apache-2.0
#include "base/lineout.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { LINE = 100, LINES_MAX = 100000 };

/* Numbered lines of one size. Blocking, here, would be a test that never ends. */
static int write_line(struct lineout *out, int number)
{
    char line[LINE + 1];

    snprintf(line, sizeof(line), "%-*d\n", LINE - 1, number);
    return lineout_write(out, line, LINE);
}

static int fill(struct lineout *out)
{
    int n = 0, r;

    while ((r = write_line(out, n)) == 0 && n < LINES_MAX)
        n++;
    assert_int_equal(r, LINEOUT_FULL);
    return n;
}

/* Reads what there is; the lines go on from `first`, in order and whole. Returns the next number.
 */
static int drain(int fd, int first)
{
    static char bytes[1 << 20];
    size_t size = 0;
    ssize_t n;

    while ((n = recv(fd, bytes + size, sizeof(bytes) - size, MSG_DONTWAIT)) > 0 ||
           (n < 0 && errno == ENOTSOCK && (n = read(fd, bytes + size, sizeof(bytes) - size)) > 0))
        size += (size_t)n;
    for (size_t at = 0; at + LINE <= size; at += LINE, first++) {
        int number;

        assert_int_equal(sscanf(bytes + at, "%d", &number), 1);
        assert_int_equal(number, first);
        assert_int_equal(bytes[at + LINE - 1], '\n');
    }
    return first;
}

/* fds[1] is written to. */
static void assert_never_blocks(const int fds[2])
{
    struct lineout out = LINEOUT_INIT(fds[1]);
    const int flags = fcntl(fds[1], F_GETFL);
    int n, next;

    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    n = fill(&out);
    assert_true(n > 10);
    assert_int_equal(write_line(&out, n), LINEOUT_FULL);
    next = drain(fds[0], 0);
    assert_true(next == n || next == n - 1);
    assert_int_equal(write_line(&out, n), 0);
    /* If the last one was cut, its rest came first. */
    if (next == n)
        assert_int_equal(drain(fds[0], next), n + 1);
    assert_int_equal(fcntl(fds[1], F_GETFL), flags); /* other processes have it too */
    lineout_deinit(&out);
    close(fds[0]);
    close(fds[1]);
}

static void a_pipe(void **state)
{
    int fds[2];

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_never_blocks(fds);
}

/* Whose size no line divides, so that the last one is cut. */
static void a_socket(void **state)
{
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    assert_never_blocks(fds);
}

static void a_pipe_that_cannot_be_opened_again(void **state)
{
    struct lineout out;
    int fds[2], n;

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    out = (struct lineout)LINEOUT_INIT(fds[1]);
    lineout_open(&out);
    assert_int_equal(out.way, LINEOUT_AGAIN);
    close(out.again_fd);
    out.again_fd = -1;
    out.way = LINEOUT_POLL;
    n = fill(&out);
    assert_int_equal(drain(fds[0], 0), n);
    assert_int_equal(write_line(&out, n), 0);
    assert_int_equal(drain(fds[0], n), n + 1);
    lineout_deinit(&out);
    close(fds[0]);
    close(fds[1]);
}

/* More than a pipe holds goes out in pieces, with nothing in between. */
static void a_long_line_is_kept_whole(void **state)
{
    static char line[200000], got[sizeof(line) + 10];
    struct lineout out;
    size_t size = 0;
    int fds[2];

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    out = (struct lineout)LINEOUT_INIT(fds[1]);
    memset(line, 'x', sizeof(line) - 1);
    line[sizeof(line) - 1] = '\n';
    assert_int_equal(lineout_write(&out, line, sizeof(line)), 0);
    for (int r = LINEOUT_FULL; r == LINEOUT_FULL; r = lineout_write(&out, "end\n", 4)) {
        ssize_t n;

        while (size < sizeof(got) && (n = read(fds[0], got + size, sizeof(got) - size)) > 0)
            size += (size_t)n;
    }
    size += (size_t)read(fds[0], got + size, sizeof(got) - size);
    assert_int_equal(size, sizeof(line) + 4);
    assert_memory_equal(got, line, sizeof(line));
    assert_memory_equal(got + sizeof(line), "end\n", 4);
    lineout_deinit(&out);
    close(fds[0]);
    close(fds[1]);
}

static void nobody_at_the_other_end(void **state)
{
    struct lineout out;
    int fds[2];

    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    out = (struct lineout)LINEOUT_INIT(fds[1]);
    assert_int_equal(write_line(&out, 0), 0);
    close(fds[0]);
    assert_int_equal(write_line(&out, 1), -EPIPE);
    close(fds[1]);
    assert_int_equal(write_line(&out, 2), -EBADF);
    lineout_deinit(&out);
}

/* As with `2>>file`, and when a program redirects it later. */
static void a_file_is_appended_to(void **state)
{
    int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), fds[2], moving;
    char got[3 * LINE + 1] = "";
    struct lineout out;

    assert_true(fd >= 0);
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    moving = dup(fds[1]);
    out = (struct lineout)LINEOUT_INIT(moving);
    assert_int_equal(write_line(&out, 0), 0);
    assert_int_equal(dup2(fd, moving), moving);
    assert_int_equal(write_line(&out, 1), 0);
    assert_int_equal(write(fd, "another\n", 8), 8);
    assert_int_equal(write_line(&out, 2), 0);
    assert_int_equal(pread(fd, got, sizeof(got) - 1, 0), 2 * LINE + 8);
    assert_int_equal(got[0], '1');
    assert_memory_equal(got + LINE, "another\n2", 9);
    lineout_deinit(&out);
    close(fd);
    close(moving);
    close(fds[0]);
    close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pipe),
        cmocka_unit_test(a_socket),
        cmocka_unit_test(a_pipe_that_cannot_be_opened_again),
        cmocka_unit_test(a_long_line_is_kept_whole),
        cmocka_unit_test(nobody_at_the_other_end),
        cmocka_unit_test(a_file_is_appended_to),
    };

    return cmocka_run_group_tests_name("lineout", tests, NULL, NULL);
}
