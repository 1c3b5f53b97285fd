// SPDX-License-Identifier: Apache-2.0
#include "proc/test-slow.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { LINGER_S = 20 };

int make_slow(int *ret_peer)
{
    const struct linger linger = {.l_onoff = 1, .l_linger = LINGER_S};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int listener = socket(AF_INET, SOCK_STREAM, 0), slow = socket(AF_INET, SOCK_STREAM, 0);
    socklen_t size = sizeof(address);
    static const char zeros[65536];

    assert_true(bind(listener, (struct sockaddr *)&address, size) == 0 && listen(listener, 1) == 0);
    assert_true(getsockname(listener, (struct sockaddr *)&address, &size) == 0);
    assert_true(connect(slow, (struct sockaddr *)&address, size) == 0);
    *ret_peer = accept(listener, NULL, NULL);
    close(listener);
    assert_true(*ret_peer >= 0 && fcntl(slow, F_SETFL, O_NONBLOCK) == 0);
    while (write(slow, zeros, sizeof(zeros)) > 0)
        ;
    assert_true(setsockopt(slow, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) == 0);
    return slow;
}

void send_along(int fd, const void *message, size_t size, int descriptor)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {.bytes = {0}};
    struct iovec body = {.iov_base = (void *)message, .iov_len = size};
    struct msghdr sent = {.msg_iov = &body,
                          .msg_iovlen = 1,
                          .msg_control = control.bytes,
                          .msg_controllen = sizeof(control.bytes)};

    control.align.cmsg_level = SOL_SOCKET;
    control.align.cmsg_type = SCM_RIGHTS;
    control.align.cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(&control.align), &descriptor, sizeof(descriptor));
    assert_true(sendmsg(fd, &sent, 0) == (ssize_t)size);
    close(descriptor);
}
