// SPDX-License-Identifier: Apache-2.0
#include "base/lineout.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A file with its own offset would overwrite what others append: pipes and devices have none. */
static int open_again(int fd)
{
    char path[40];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

static enum lineout_way choose_way(struct lineout *out)
{
    if (S_ISREG(out->file.st_mode) || S_ISBLK(out->file.st_mode))
        return LINEOUT_DIRECT;
    if (S_ISSOCK(out->file.st_mode))
        return LINEOUT_SEND;
    out->again_fd = open_again(out->fd);
    return out->again_fd >= 0 ? LINEOUT_AGAIN : LINEOUT_POLL;
}

static void close_again(struct lineout *out)
{
    if (out->again_fd >= 0)
        close(out->again_fd);
    out->again_fd = -1;
}

/* 0, or a negative errno without a file. */
static int follow(struct lineout *out)
{
    struct stat file;

    if (fstat(out->fd, &file) < 0)
        return -errno;
    if (file.st_dev == out->file.st_dev && file.st_ino == out->file.st_ino &&
        file.st_mode == out->file.st_mode)
        return 0;
    close_again(out);
    text_clear(&out->rest); /* the new reader has not seen its beginning */
    out->file = file;
    out->way = choose_way(out);
    return 0;
}

void lineout_open(struct lineout *out)
{
    (void)follow(out);
}

static ssize_t write_polled(int fd, const char *bytes, size_t size)
{
    struct pollfd room = {.fd = fd, .events = POLLOUT};

    if (poll(&room, 1, 0) != 1) {
        errno = EAGAIN;
        return -1;
    }
    return write(fd, bytes, size < PIPE_BUF ? size : PIPE_BUF);
}

static ssize_t write_some(const struct lineout *out, const char *bytes, size_t size)
{
    switch (out->way) {
    case LINEOUT_DIRECT:
        return write(out->fd, bytes, size);
    case LINEOUT_AGAIN:
        return write(out->again_fd, bytes, size);
    case LINEOUT_SEND:
        return send(out->fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    case LINEOUT_POLL:
        return write_polled(out->fd, bytes, size);
    }
    return -1;
}

/* How much was written; errno has the reason if not everything was. */
static size_t write_all(const struct lineout *out, const char *bytes, size_t size)
{
    size_t done = 0;

    while (done < size) {
        ssize_t n = write_some(out, bytes + done, size - done);

        if (n > 0)
            done += (size_t)n;
        else if (n == 0 || errno != EINTR)
            break;
    }
    return done;
}

static bool write_rest(struct lineout *out)
{
    struct text *rest = &out->rest;
    size_t done;

    if (!rest->length) {
        text_clear(rest);
        return true;
    }
    done = write_all(out, rest->data, rest->length);
    rest->length -= done;
    memmove(rest->data, rest->data + done, rest->length + 1);
    return !rest->length;
}

int lineout_write(struct lineout *out, const char *lines, size_t size)
{
    int r = follow(out);
    size_t done = 0;

    if (r < 0)
        return r;
    if (write_rest(out))
        done = write_all(out, lines, size);
    if (done == 0 && size)
        return errno == EAGAIN ? LINEOUT_FULL : -errno;
    text_add_bytes(&out->rest, lines + done, size - done);
    return 0;
}

void lineout_deinit(struct lineout *out)
{
    close_again(out);
    text_deinit(&out->rest);
}
