// SPDX-License-Identifier: Apache-2.0
#include "gpu/miglock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

enum { HOLDER_SIZE = 64 };

/* The file's content is for people alone. */
static int name_holder(int fd, const char *path, struct error *err)
{
    char holder[HOLDER_SIZE] = "";
    ssize_t n = pread(fd, holder, sizeof(holder) - 1, 0);

    holder[n > 0 ? strcspn(holder, "\n") : 0] = '\0';
    error_set(err, -EBUSY, "%s changes how the GPUs of this node are partitioned (%s)",
              *holder ? holder : "another program", path);
    return MIGLOCK_HELD;
}

int miglock_take(const char *state_dir, const char *program, int *ret_fd, struct error *err)
{
    cleanup_close int fd = -1;
    char path[PATH_MAX], holder[HOLDER_SIZE];
    int r = file_make_directory(state_dir, err), n;

    if (r < 0)
        return r;
    snprintf(path, sizeof(path), "%s/mig.lock", state_dir);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return error_set_errno(err, -errno, "cannot open %s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? name_holder(fd, path, err)
                                    : error_set_errno(err, -errno, "cannot lock %s", path);
    n = snprintf(holder, sizeof(holder), "%.40s (pid %d)\n", program, (int)getpid());
    if (ftruncate(fd, 0) < 0 || pwrite(fd, holder, (size_t)n, 0) < 0)
        return error_set_errno(err, -errno, "cannot write %s", path);
    *ret_fd = TAKE_FD(fd);
    return 0;
}
