// SPDX-License-Identifier: Apache-2.0
#include "arbiter/limitsanswer.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

void limitsanswer_set_text(struct limits_answer *answer, const char *text)
{
    snprintf(answer->text, sizeof(answer->text), "%s", text);
}

bool limitsanswer_send(int fd, const struct limits_answer *answer, int page)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {.bytes = {0}};
    struct limits_answer copy = *answer;
    struct iovec body = {.iov_base = &copy, .iov_len = sizeof(copy)};
    struct msghdr message = {.msg_iov = &body, .msg_iovlen = 1};

    if (page >= 0) {
        struct cmsghdr *header = &control.align;

        message.msg_control = control.bytes;
        message.msg_controllen = sizeof(control.bytes);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &page, sizeof(page));
    }
    return sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof(copy);
}
