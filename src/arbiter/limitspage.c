// SPDX-License-Identifier: Apache-2.0
#include "arbiter/limitspage.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

/* Linux 5.1; glibc 2.28 has no name for it. */
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

_Static_assert(LIMITS_SEALS == (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE),
               "what readers of the page rely on");

static int seal(int fd, struct error *err)
{
    if (fcntl(fd, F_ADD_SEALS, LIMITS_SEALS) == 0)
        return 0;
    if (errno == EINVAL)
        return error_set(err, -EOPNOTSUPP,
                         "this kernel cannot make pages that a container only reads: memory limits "
                         "need Linux 5.1 or later");
    return error_set_errno(err, -errno, "cannot seal a page of limits");
}

/* The same file, opened once more: its first descriptor may write as far as the seals let it. */
static int reopen(int fd)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return open(path, O_RDONLY | O_CLOEXEC);
}

int limitspage_make(struct limitspage *ret_page, struct error *err)
{
    cleanup_close int fd = memfd_create("gpuslice-limits", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    struct limits_page *page;
    int r, readable = -1;

    if (fd < 0 || ftruncate(fd, LIMITS_PAGE_SIZE) < 0 || fchmod(fd, 0444) < 0)
        return error_set_errno(err, -errno, "cannot make a page of limits");
    page = mmap(NULL, LIMITS_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        return error_set_errno(err, -errno, "cannot map a page of limits");
    r = seal(fd, err);
    if (r == 0) {
        readable = reopen(fd);
        if (readable < 0)
            r = error_set_errno(err, -errno, "cannot open a page of limits again");
    }
    if (r < 0) {
        munmap(page, LIMITS_PAGE_SIZE);
        return r;
    }
    page->magic = LIMITS_MAGIC;
    page->version = LIMITS_VERSION;
    *ret_page = (struct limitspage){.page = page, .fd = readable};
    return 0;
}

void limitspage_deinit(struct limitspage *page)
{
    if (page->page)
        munmap(page->page, LIMITS_PAGE_SIZE);
    if (page->fd >= 0)
        close(page->fd);
    *page = (struct limitspage)LIMITSPAGE_INIT;
}
