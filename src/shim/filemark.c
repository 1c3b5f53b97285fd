// SPDX-License-Identifier: Apache-2.0
#include "shim/filemark.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Older headers do not have it. */
#ifndef F_OFD_SETLK
#define F_OFD_SETLK 37
#endif

enum { NONBLOCK = 1 }; /* GRND_NONBLOCK, which is in a header of glibc 2.25 */

/* The offsets that are marks: off_t has 63 bits, and the last quarter of what it reaches is left.
 */
#define MARK_FIRST (UINT64_C(1) << 62)
#define MARK_MASK  (MARK_FIRST / 2 - 1)

static bool is_mark(uint64_t offset)
{
    return (offset & ~MARK_MASK) == MARK_FIRST;
}

uint64_t filemark_make(void)
{
    const int error = errno;
    uint64_t random = 0;
    const long n = syscall(SYS_getrandom, &random, sizeof(random), NONBLOCK);

    errno = error;
    return n == (long)sizeof(random) ? MARK_FIRST | (random & MARK_MASK) : 0;
}

/* --- putting --- */

static int lock(int fd, short type, uint64_t mark)
{
    struct flock range = {.l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)mark, .l_len = 1};

    return syscall(SYS_fcntl, fd, F_OFD_SETLK, &range) == 0 ? 0 : -errno;
}

/* A file that can only be written to takes no lock for readers. */
int filemark_put(int fd, uint64_t mark)
{
    const int error = errno;
    int r = is_mark(mark) ? lock(fd, F_RDLCK, mark) : -EINVAL;

    if (r == -EBADF)
        r = lock(fd, F_WRLCK, mark);
    errno = error;
    return r;
}

/* --- finding --- */

static bool is_known(const uint64_t *marks, size_t n, uint64_t mark)
{
    for (size_t i = 0; i < n; i++)
        if (marks[i] == mark)
            return true;
    return false;
}

/* A line of show_fd_locks (fs/locks.c): number, whose lock, how binding, for what, the process, the
 * file, its first and last byte. Nothing is allocated for the few words that are looked at. */
static uint64_t parse_line(const char *line)
{
    unsigned long long first = 0, last = 0;

    if (sscanf(line, "lock: %*d: OFDLCK %*s %*s %*d %*s %llu %llu", &first, &last) != 2 ||
        first != last || !is_mark(first))
        return 0;
    return first;
}

size_t filemark_parse(const char *fdinfo, uint64_t marks[static FILEMARK_MOST])
{
    size_t n = 0;

    while (fdinfo && n < FILEMARK_MOST) {
        const uint64_t mark = parse_line(fdinfo);

        if (mark && !is_known(marks, n, mark))
            marks[n++] = mark;
        fdinfo = strchr(fdinfo, '\n');
        fdinfo = fdinfo ? fdinfo + 1 : NULL;
    }
    return n;
}

/* A line that is cut off at the end of the room is no line. */
static size_t read_all(int fd, char *text, size_t size)
{
    size_t n_read = 0;
    long n;

    while (n_read + 1 < size && (n = syscall(SYS_read, fd, text + n_read, size - 1 - n_read)) > 0)
        n_read += (size_t)n;
    while (n_read > 0 && text[n_read - 1] != '\n')
        n_read--;
    text[n_read] = '\0';
    return n_read;
}

size_t filemark_find(int fd, uint64_t marks[static FILEMARK_MOST])
{
    const int error = errno;
    char text[4096], path[64];
    size_t n = 0;
    int info;

    snprintf(path, sizeof(path), "/proc/thread-self/fdinfo/%d", fd);
    info = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (info >= 0) {
        if (read_all(info, text, sizeof(text)))
            n = filemark_parse(text, marks);
        syscall(SYS_close, info);
    }
    errno = error;
    return n;
}
