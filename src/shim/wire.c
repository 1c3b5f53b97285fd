// SPDX-License-Identifier: Apache-2.0
#include "shim/wire.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "shim/grantdir.h"

#ifndef SO_COOKIE
#define SO_COOKIE 57
#endif

#ifndef SHIM_VERSION
#define SHIM_VERSION "0"
#endif

uint64_t wire_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint64_t cookie_of(int fd)
{
    uint64_t cookie = 0;
    socklen_t size = sizeof(cookie);

    return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) == 0 ? cookie : 0;
}

static bool is_ours(const struct wire *wire)
{
    return wire->fd >= 0 && cookie_of(wire->fd) == wire->cookie;
}

void wire_close(struct wire *wire)
{
    if (is_ours(wire))
        close(wire->fd);
    wire->fd = -1;
}

static int ended(struct wire *wire, int error)
{
    wire_close(wire);
    return -error;
}

/* True: there is something; it ended, or the time is over otherwise. */
static bool wait_for(int fd, short events, uint64_t deadline_ms)
{
    for (;;) {
        struct pollfd wait = {.fd = fd, .events = events};
        const uint64_t now_ms = wire_now_ms();
        const int n = poll(&wait, 1, now_ms < deadline_ms ? (int)(deadline_ms - now_ms) : 0);

        if (n > 0)
            return true;
        if (n == 0 || errno != EINTR)
            return false;
    }
}

static int send_request(struct wire *wire, struct limits_request *request)
{
    if (!is_ours(wire))
        return ended(wire, ENOTCONN);
    if (!limits_knows(wire->revision, request->kind))
        return WIRE_UNKNOWN;
    request->sequence = ++wire->sequence;
    if (send(wire->fd, request, sizeof(*request), MSG_NOSIGNAL | MSG_DONTWAIT) ==
        (ssize_t)sizeof(*request))
        return 0;
    if (errno == EAGAIN || errno == EINTR || errno == ENOBUFS)
        return -EAGAIN;
    return ended(wire, errno ? errno : EIO);
}

int wire_tell(struct wire *wire, struct limits_request *request)
{
    return send_request(wire, request);
}

/* Never one of the first three: a program that closed them has others write to those. By the
 * kernel's own call: libc's is another one since 2.28. */
static int new_socket(void)
{
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int above;

    if (fd < 0)
        return -errno;
    if (fd > STDERR_FILENO)
        return fd;
    above = (int)syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    above = above < 0 ? -errno : above;
    close(fd);
    return above;
}

/* Connects to the socket of a grant's directory, which a long name of a resource makes longer than
 * an address may be. */
static int connect_in(const char *directory)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int folder = -1, error;
    int fd = new_socket();
    int n = snprintf(address.sun_path, sizeof(address.sun_path), "%s/" LIMITS_SOCKET, directory);

    if (fd < 0)
        return fd;
    if (n >= (int)sizeof(address.sun_path)) {
        folder = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
        snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/" LIMITS_SOCKET,
                 folder);
    }
    error = connect(fd, (struct sockaddr *)&address, sizeof(address)) ? errno : 0;
    if (folder >= 0)
        close(folder);
    if (!error)
        return fd;
    close(fd);
    return -error;
}

static int introduce(struct wire *wire)
{
    struct limits_request request = {.kind = LIMITS_REGISTER, .bytes = LIMITS_REVISION};

    wire->revision = 1; /* whatever it is, it knows that message */

    snprintf(request.text, sizeof(request.text), "%s", SHIM_VERSION);
    return send_request(wire, &request);
}

struct attempt {
    struct wire *wire;
    unsigned n_seen;
    int result;
};

static bool try_directory(const char *directory, void *userdata)
{
    struct attempt *attempt = userdata;
    struct wire *wire = attempt->wire;
    int fd;

    if (attempt->n_seen++ < wire->refused)
        return true;
    fd = connect_in(directory);
    if (fd < 0) {
        attempt->result = fd;
        return true;
    }
    wire->fd = fd;
    wire->cookie = cookie_of(fd);
    attempt->result = introduce(wire);
    return attempt->result != 0;
}

int wire_connect(struct wire *wire)
{
    struct attempt attempt = {wire, 0, WIRE_REFUSED};

    grantdir_each(try_directory, &attempt);
    return attempt.n_seen == 0 ? WIRE_NO_GRANT : attempt.result;
}

/* Of what is fixed in a page, before it takes the place of another one. */
static bool is_understood(int fd)
{
    struct limits_page page;
    const size_t size = offsetof(struct limits_page, devices);

    return lseek(fd, 0, SEEK_END) >= LIMITS_PAGE_SIZE &&
           pread(fd, &page, size, 0) == (ssize_t)size && page.magic == LIMITS_MAGIC &&
           page.version == LIMITS_VERSION && page.n_devices <= LIMITS_DEVICES_MAX;
}

/* It cannot shrink below us. */
static int map_page(struct wire *wire, int fd)
{
    const long size = sysconf(_SC_PAGESIZE);
    void *place = (void *)wire->page;
    struct stat status;

    if (!is_understood(fd))
        return WIRE_FOREIGN;
    if (!place) {
        place = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (place == MAP_FAILED)
            return -errno;
    }
    if (mmap(place, LIMITS_PAGE_SIZE, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
        return -errno;
    /* By the kernel's own call: libc's is another one since 2.33. */
    if (syscall(SYS_fstat, fd, &status) == 0)
        __atomic_store_n(&wire->page_number, (uint64_t)status.st_ino, __ATOMIC_RELAXED);
    __atomic_store_n(&wire->page, place, __ATOMIC_RELEASE);
    return 0;
}

/* With the descriptor that comes along; -1: none. */
static ssize_t receive(int fd, struct limits_answer *answer, int *ret_fd)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part = {answer, sizeof(*answer)};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    const ssize_t n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    const struct cmsghdr *header = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;

    *ret_fd = -1;
    if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
        header->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(ret_fd, CMSG_DATA(header), sizeof(int));
    return n;
}

int wire_await(struct wire *wire, int timeout_ms)
{
    struct limits_answer answer;
    int page = -1, r;

    if (!is_ours(wire))
        return ended(wire, ENOTCONN);
    if (!wait_for(wire->fd, POLLIN, wire_now_ms() + (uint64_t)timeout_ms))
        return -EAGAIN;
    if (receive(wire->fd, &answer, &page) != (ssize_t)sizeof(answer))
        return ended(wire, ECONNRESET);
    if (answer.kind == LIMITS_WELCOME && page >= 0) {
        wire->revision = answer.bytes;
        r = map_page(wire, page);
        close(page);
        if (r != 0)
            wire_close(wire);
        return r;
    }
    if (page >= 0)
        close(page);
    wire_close(wire);
    if (answer.kind != LIMITS_REFUSED)
        return WIRE_FOREIGN;
    wire->refused++;
    return WIRE_REFUSED;
}

/* The answer, with the descriptor that came along; -1: none. */
static int ask(struct wire *wire, struct limits_request *request, struct limits_answer *ret_answer,
               int *ret_fd, int timeout_ms)
{
    const uint64_t deadline_ms = wire_now_ms() + (uint64_t)timeout_ms;
    int r;

    while ((r = send_request(wire, request)) == -EAGAIN)
        if (!wait_for(wire->fd, POLLOUT, deadline_ms))
            return -ETIMEDOUT;
    if (r != 0)
        return r;
    for (;;) {
        if (!wait_for(wire->fd, POLLIN, deadline_ms))
            return -ETIMEDOUT;
        if (receive(wire->fd, ret_answer, ret_fd) != (ssize_t)sizeof(*ret_answer)) {
            if (*ret_fd >= 0)
                close(*ret_fd);
            return ended(wire, ECONNRESET);
        }
        if (ret_answer->sequence == request->sequence)
            return 0;
        if (*ret_fd >= 0)
            close(*ret_fd);
    }
}

int wire_ask(struct wire *wire, struct limits_request *request, struct limits_answer *ret_answer,
             int timeout_ms)
{
    int fd = -1;
    const int r = ask(wire, request, ret_answer, &fd, timeout_ms);

    if (r == 0 && fd >= 0)
        close(fd);
    return r;
}

/* --- the page of claims --- */

/* It cannot shrink below us; by the kernel's own call, as above. */
static bool is_of_claims(int fd)
{
    struct claims claims;
    const size_t size = offsetof(struct claims, devices);
    const long seals = syscall(SYS_fcntl, fd, F_GET_SEALS);

    return seals >= 0 && (seals & CLAIMS_SEALS) == CLAIMS_SEALS &&
           lseek(fd, 0, SEEK_END) >= CLAIMS_SIZE && pread(fd, &claims, size, 0) == (ssize_t)size &&
           claims.magic == CLAIMS_MAGIC && claims.version == CLAIMS_VERSION;
}

static int map_claims(int fd, struct claims **ret_claims)
{
    void *place;

    if (!is_of_claims(fd))
        return WIRE_FOREIGN;
    place = mmap(NULL, CLAIMS_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (place == MAP_FAILED)
        return WIRE_FOREIGN;
    if (madvise(place, CLAIMS_SIZE, MADV_DONTFORK) != 0) {
        munmap(place, CLAIMS_SIZE);
        return WIRE_FOREIGN;
    }
    *ret_claims = place;
    return 0;
}

int wire_claim(struct wire *wire, struct claims **ret_claims, int timeout_ms)
{
    struct limits_request request = {.kind = LIMITS_CLAIMS};
    struct limits_answer answer;
    int fd = -1;
    int r = ask(wire, &request, &answer, &fd, timeout_ms);

    if (r == 0 && (answer.kind != LIMITS_GRANTED || fd < 0))
        r = WIRE_DENIED;
    else if (r == 0)
        r = map_claims(fd, ret_claims);
    if (fd >= 0)
        close(fd);
    return r;
}

bool wire_is_ended(const struct wire *wire)
{
    struct pollfd look = {.fd = wire->fd, .events = 0};

    return !is_ours(wire) || (poll(&look, 1, 0) > 0 && (look.revents & (POLLHUP | POLLERR)) != 0);
}
