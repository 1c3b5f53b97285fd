// SPDX-License-Identifier: Apache-2.0
#include "proc/peersocket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

ssize_t peersocket_receive(int fd, void *message, size_t size)
{
    struct msghdr look = {.msg_iovlen = 0};
    ssize_t n;

    /* Without room for descriptors the kernel tells that there are some, and takes none. */
    if (recvmsg(fd, &look, MSG_PEEK | MSG_DONTWAIT) < 0)
        return -errno;
    if (look.msg_flags & MSG_CTRUNC)
        return -EBADMSG;
    n = recv(fd, message, size, MSG_DONTWAIT | MSG_TRUNC);
    return n < 0 ? -errno : n;
}

/* What is looked at, and no more, is taken: what comes meanwhile may carry some. */
ssize_t peersocket_read(int fd, void *space, size_t size)
{
    struct iovec body = {.iov_base = space, .iov_len = size};
    struct msghdr look = {.msg_iov = &body, .msg_iovlen = 1};
    ssize_t n = recvmsg(fd, &look, MSG_PEEK | MSG_DONTWAIT);

    if (n > 0 && look.msg_flags & MSG_CTRUNC)
        return -EBADMSG;
    if (n > 0)
        n = recv(fd, space, (size_t)n, MSG_DONTWAIT);
    return n < 0 ? -errno : n;
}

/* A message of no length looks like the end, but for the sender that comes with it. */
static bool has_message(int fd)
{
    union {
        char bytes[CMSG_SPACE(sizeof(struct ucred))];
        struct cmsghdr align;
    } control;
    struct msghdr look = {.msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};
    const int yes = 1;

    return setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &yes, sizeof(yes)) < 0 ||
           (recvmsg(fd, &look, MSG_PEEK | MSG_DONTWAIT) >= 0 && look.msg_controllen > 0);
}

static void close_between(unsigned first, unsigned last)
{
    if (first <= last)
        syscall(SYS_close_range, first, last, 0);
}

/* Its last holder is a process that ends, once we have closed it. */
static void hold_until_closed(int fd, const int gate[2])
{
    const unsigned low = (unsigned)(fd < gate[0] ? fd : gate[0]);
    const unsigned high = (unsigned)(fd < gate[0] ? gate[0] : fd);
    char nothing;

    close(gate[1]);
    if (low > 0)
        close_between(0, low - 1);
    close_between(low + 1, high - 1);
    close_between(high + 1, ~0U);
    while (read(gate[0], &nothing, 1) < 0 && errno == EINTR)
        ;
    _exit(0);
}

/* By a child of a child, for which nobody has to wait. */
static void close_elsewhere(int fd)
{
    int gate[2] = {-1, -1};
    pid_t child = -1;

    if (pipe2(gate, O_CLOEXEC) == 0)
        child = fork();
    if (child == 0) {
        if (fork() == 0)
            hold_until_closed(fd, gate);
        _exit(0);
    }
    while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR)
        ;
    close(fd);
    if (gate[0] >= 0) {
        close(gate[0]);
        close(gate[1]);
    }
}

void peersocket_close(int fd)
{
    shutdown(fd, SHUT_RDWR); /* nothing comes any more */
    if (has_message(fd))
        close_elsewhere(fd);
    else
        close(fd);
}

void peersocket_close_listener(int fd)
{
    int peer;

    shutdown(fd, SHUT_RDWR);
    while ((peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0)
        peersocket_close(peer);
    close(fd);
}
