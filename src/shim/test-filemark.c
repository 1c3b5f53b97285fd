// SPDX-License-Identifier: Apache-2.0

/* Numbers on open files of the kernel's own, by whichever descriptor they are looked at. */

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "shim/filemark.h"

static uint64_t marks[FILEMARK_MOST];

static uint64_t mark_new(void)
{
    const uint64_t mark = filemark_make();

    assert_int_not_equal(mark, 0);
    return mark;
}

static int make_file(void)
{
    const int fd = memfd_create("memory", MFD_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

static void send_file(int socket, int fd)
{
    char byte = 0, control[CMSG_SPACE(sizeof(fd))] = {0};
    struct iovec vector = {&byte, 1};
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof(control)};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);

    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(fd));
    *(int *)(void *)CMSG_DATA(header) = fd;
    assert_int_equal(sendmsg(socket, &message, 0), 1);
}

static int receive_file(int socket)
{
    char byte, control[CMSG_SPACE(sizeof(int))];
    struct iovec vector = {&byte, 1};
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof(control)};

    return recvmsg(socket, &message, 0) == 1
               ? *(const int *)(const void *)CMSG_DATA(CMSG_FIRSTHDR(&message))
               : -1;
}

static void assert_marked(int fd, uint64_t mark)
{
    assert_int_equal(filemark_find(fd, marks), 1);
    assert_true(marks[0] == mark);
}

static void test_each_is_another_one(void **state)
{
    (void)state;
    assert_true(mark_new() != mark_new());
}

/* Not the file's: one that is opened again has none. */
static void test_it_is_of_one_open_file(void **state)
{
    const uint64_t mark = mark_new();
    const int fd = make_file(), copy = dup(fd);
    char path[64];
    int again;

    (void)state;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    again = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(filemark_find(fd, marks), 0);
    assert_int_equal(filemark_put(fd, mark), 0);
    assert_marked(copy, mark);
    close(fd);
    assert_marked(copy, mark);
    assert_int_equal(filemark_find(again, marks), 0);
    close(again);
    close(copy);
}

/* Whatever it is that the driver gives out, and may be done with it. */
static void test_any_file_can_have_one(void **state)
{
    static const struct {
        const char *path;
        int flags;
    } files[] = {{"/dev/null", O_RDWR}, {"/dev/null", O_RDONLY}, {"/dev/zero", O_WRONLY}};

    (void)state;
    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
        const int fd = open(files[i].path, files[i].flags | O_CLOEXEC);
        const uint64_t mark = mark_new();

        assert_true(fd >= 0);
        assert_int_equal(filemark_put(fd, mark), 0);
        assert_int_equal(filemark_put(fd, mark), 0);
        assert_marked(fd, mark);
        close(fd);
    }
}

/* The first one has closed its own by then. */
static void test_another_process_finds_it(void **state)
{
    const uint64_t mark = mark_new();
    int sockets[2], status, fd;
    pid_t pid;

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, sockets), 0);
    pid = fork();
    if (pid == 0) {
        fd = receive_file(sockets[1]);
        _exit(fd < 0 || filemark_find(fd, marks) != 1 || marks[0] != mark);
    }
    fd = make_file();
    assert_int_equal(filemark_put(fd, mark), 0);
    send_file(sockets[0], fd);
    close(fd);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(sockets[0]);
    close(sockets[1]);
}

/* A file that two gave out, and one with the program's own locks. */
static void test_each_of_several_is_found(void **state)
{
    const uint64_t first = mark_new(), second = mark_new();
    struct flock all = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    const int fd = make_file();

    (void)state;
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &all), 0);
    assert_int_equal(filemark_find(fd, marks), 0);
    all.l_type = F_UNLCK;
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &all), 0);
    assert_int_equal(filemark_put(fd, first), 0);
    assert_int_equal(filemark_put(fd, second), 0);
    assert_int_equal(filemark_find(fd, marks), 2);
    assert_true((marks[0] == first && marks[1] == second) ||
                (marks[0] == second && marks[1] == first));
    close(fd);
}

static void test_what_fails_leaves_errno_alone(void **state)
{
    const int fd = make_file(), closed = dup(fd);

    (void)state;
    close(closed);
    errno = EDOM;
    assert_int_equal(filemark_put(closed, mark_new()), -EBADF);
    assert_int_equal(filemark_find(closed, marks), 0);
    assert_int_equal(filemark_find(-1, marks), 0);
    assert_int_equal(filemark_put(fd, 1), -EINVAL); /* where contents may be */
    assert_int_equal(filemark_put(fd, UINT64_MAX), -EINVAL);
    assert_int_equal(filemark_find(fd, marks), 0);
    assert_int_equal(errno, EDOM);
    close(fd);
}

/* Of the kernel's text, what is no mark of ours. */
static void test_text(void **state)
{
#define LOCK "lock:\t1: OFDLCK ADVISORY  READ -1 00:06:142 "
    static const struct {
        const char *text;
        size_t n;
    } texts[] = {
        {"", 0},
        {"pos:\t0\nflags:\t02100002\nmnt_id:\t24\n", 0},
        {"pos:\t0\n" LOCK "4611686018427387911 4611686018427387911\nino:\t3\n", 1},
        {LOCK "4611686018427387911 4611686018427387911\n" LOCK
              "4611686018427387911 4611686018427387911\n",
         1},
        {LOCK "4611686018427387911 4611686018427387912\n", 0},
        {LOCK "4611686018427387911 EOF\n", 0},
        {LOCK "0 0\n", 0},
        {LOCK "9223372036854775807 9223372036854775807\n", 0},
        {LOCK "4611686018427387911", 0},
        {"lock:\t1: POSIX  ADVISORY  READ 7 00:06:3 4611686018427387911 4611686018427387911\n", 0},
        {LOCK "4611686018427387911 4611686018427387911\n" LOCK
              "4611686018427387913 4611686018427387913\n" LOCK
              "4611686018427387915 4611686018427387915\n" LOCK
              "4611686018427387917 4611686018427387917\n" LOCK
              "4611686018427387919 4611686018427387919\n",
         FILEMARK_MOST},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        assert_int_equal(filemark_parse(texts[i].text, marks), texts[i].n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_is_another_one),
        cmocka_unit_test(test_it_is_of_one_open_file),
        cmocka_unit_test(test_any_file_can_have_one),
        cmocka_unit_test(test_another_process_finds_it),
        cmocka_unit_test(test_each_of_several_is_found),
        cmocka_unit_test(test_what_fails_leaves_errno_alone),
        cmocka_unit_test(test_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
