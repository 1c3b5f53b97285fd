// SPDX-License-Identifier: Apache-2.0
#include "shim/bytes.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    PAGE_SIZE = 4096, /* the smallest that there is */
    SIGSET_SIZE = 8,  /* the kernel's */
};

/* The kernel reads a set of signals before it looks at what to do with it (Linux 2.6 to 6.12);
 * where it does not, memory is taken as readable. */
bool bytes_are_readable(const void *at, size_t size)
{
    const uintptr_t begin = (uintptr_t)at, end = begin + size;

    if (end < begin)
        return false;
    for (uintptr_t one = begin & ~(uintptr_t)(SIGSET_SIZE - 1); one < end;
         one = (one | (PAGE_SIZE - 1)) + 1)
        if (syscall(SYS_rt_sigprocmask, -1, one, NULL, SIGSET_SIZE) != 0 && errno == EFAULT)
            return false;
    return true;
}

bool bytes_copy(const struct bytes *bytes, void *to, size_t size)
{
    if (bytes->size < size || !bytes_are_readable(bytes->at, size))
        return false;
    memcpy(to, bytes->at, size);
    return true;
}

size_t bytes_text_length(const struct bytes *bytes)
{
    size_t length = 0, part, n;

    if (bytes->size != BYTES_UNTOLD)
        return bytes_are_readable(bytes->at, bytes->size) ? strnlen(bytes->at, bytes->size) : 0;
    do {
        part = PAGE_SIZE - ((uintptr_t)(bytes->at + length) & (PAGE_SIZE - 1));
        if (!bytes_are_readable(bytes->at + length, 1))
            return 0;
        n = strnlen(bytes->at + length, part);
        length += n;
    } while (n == part);
    return length;
}
