// SPDX-License-Identifier: Apache-2.0
#include "proc/blocking.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/clock.h"

void blocking_init(struct blocking_channel *channel, int fd, uint32_t max_body_bytes)
{
    *channel = (struct blocking_channel){
        .fd = fd,
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .reader = PROC_FRAME_READER_INIT(max_body_bytes),
    };
}

void blocking_deinit(struct blocking_channel *channel)
{
    proc_frame_reader_deinit(&channel->reader);
    pthread_mutex_destroy(&channel->lock);
}

static int wait_for(int fd, short events, uint64_t until_ms)
{
    struct pollfd poll_fd = {.fd = fd, .events = events};
    const uint64_t now_ms = clock_now_ms();
    const uint64_t wait_ms = until_ms > now_ms ? until_ms - now_ms : 0;
    const int r = poll(&poll_fd, 1,
                       until_ms == UINT64_MAX ? -1 : (int)(wait_ms < INT_MAX ? wait_ms : INT_MAX));

    if (r < 0)
        return errno == EINTR ? 0 : -errno;
    return r == 0 && clock_now_ms() >= until_ms ? BLOCKING_TIMEOUT : 0;
}

/* The socket may be non-blocking: an inheriting peer shares its flags. */
static int send_all(int fd, struct iovec *parts, size_t n_parts)
{
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = n_parts};

    while (message.msg_iovlen) {
        ssize_t n = sendmsg(fd, &message, MSG_NOSIGNAL);

        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            const int r = errno == EAGAIN ? wait_for(fd, POLLOUT, UINT64_MAX) : 0;

            if (r < 0)
                return r;
            continue;
        }
        if (n < 0)
            return errno == ECONNRESET ? -EPIPE : -errno;
        while (message.msg_iovlen && (size_t)n >= message.msg_iov->iov_len) {
            n -= (ssize_t)message.msg_iov->iov_len;
            message.msg_iov++;
            message.msg_iovlen--;
        }
        if (message.msg_iovlen) {
            message.msg_iov->iov_base = (char *)message.msg_iov->iov_base + n;
            message.msg_iov->iov_len -= (size_t)n;
        }
    }
    return 0;
}

int blocking_send(struct blocking_channel *channel, const struct proc_frame *frame)
{
    uint8_t header[PROC_FRAME_HEADER_BYTES];
    struct iovec parts[] = {
        {header, sizeof(header)},
        {(void *)(uintptr_t)frame->body, frame->size},
    };
    int r;

    proc_frame_write_header(frame, header);
    pthread_mutex_lock(&channel->lock);
    r = send_all(channel->fd, parts, frame->size ? 2 : 1);
    pthread_mutex_unlock(&channel->lock);
    return r;
}

int blocking_hello(struct blocking_channel *channel, const char *name)
{
    const struct proc_frame hello = {.type = PROC_FRAME_HELLO, .body = name, .size = strlen(name)};

    return blocking_send(channel, &hello);
}

/* 0, PROC_FRAME_COMPLETE, BLOCKING_TIMEOUT as a negative errno (-ETIMEDOUT), or another one. */
static int receive_some(struct blocking_channel *channel, uint64_t until_ms, struct error *err)
{
    size_t size;
    void *space = proc_frame_reader_space(&channel->reader, &size);
    ssize_t n;
    int r;

    if (!space)
        return error_set_errno(err, -ENOMEM, "cannot receive a message");
    r = wait_for(channel->fd, POLLIN, until_ms);
    if (r)
        return r < 0 ? error_set_errno(err, r, "cannot receive a message") : -ETIMEDOUT;
    n = recv(channel->fd, space, size, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n == 0 || (n < 0 && errno == ECONNRESET))
        return error_set(err, -ENODATA, "the peer closed the channel");
    if (n < 0)
        return error_set_errno(err, -errno, "cannot receive a message");
    r = proc_frame_reader_commit(&channel->reader, (size_t)n, err);
    return r <= PROC_FRAME_COMPLETE ? r : -EPROTO;
}

int blocking_receive(struct blocking_channel *channel, uint64_t until_ms,
                     struct proc_frame *ret_frame, struct error *err)
{
    for (;;) {
        const struct proc_frame *frame = &channel->reader.frame;
        int r;

        if (channel->is_complete)
            proc_frame_reader_next(&channel->reader);
        channel->is_complete = false;
        do
            r = receive_some(channel, until_ms, err);
        while (r == 0);
        if (r < 0)
            return r == -ETIMEDOUT ? BLOCKING_TIMEOUT : r;
        channel->is_complete = true;
        switch (frame->type) {
        case PROC_FRAME_HELLO:
        case PROC_FRAME_PONG:
            continue;
        case PROC_FRAME_PING:
            r = blocking_send(channel,
                              &(struct proc_frame){.type = PROC_FRAME_PONG, .id = frame->id});
            if (r < 0)
                return error_set_errno(err, r, "cannot answer a ping");
            continue;
        case PROC_FRAME_REQUEST:
        case PROC_FRAME_ANSWER:
        case PROC_FRAME_NOTICE:
            *ret_frame = *frame;
            return 0;
        }
    }
}
