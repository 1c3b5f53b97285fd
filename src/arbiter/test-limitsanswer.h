// SPDX-License-Identifier: Apache-2.0
#pragma once

/* For tests that play a process: an answer of the arbiter, with the page that may come along. */

#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#include "limits/message.h"

/* Does not wait. ret_page: its descriptor, -1 = none; the caller closes it. False: nothing has come
 * that is an answer. */
static inline bool limitsanswer_receive(int fd, struct limits_answer *ret_answer, int *ret_page)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec body = {.iov_base = ret_answer, .iov_len = sizeof(*ret_answer)};
    struct msghdr message = {.msg_iov = &body,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    const ssize_t n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

    *ret_page = -1;
    if (n > 0 && message.msg_controllen >= CMSG_LEN(sizeof(*ret_page)))
        memcpy(ret_page, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(*ret_page));
    return n == (ssize_t)sizeof(*ret_answer);
}
