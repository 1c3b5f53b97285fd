// SPDX-License-Identifier: Apache-2.0
#include "gpu/mpsdaemon.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"

/* A socket's path has room for 107 characters, so the folder is named by its descriptor. */
bool mpsdaemon_answers(const char *root, const char *resource)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    cleanup_close int folder = -1, fd = -1;
    char path[PATH_MAX];

    if (snprintf(path, sizeof(path), "%s/%s/pipe", root, resource) >= (int)sizeof(path))
        return false;
    folder = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return false;
    snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/control", folder);
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    /* EAGAIN: it listens, and others wait already. */
    return connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 || errno == EAGAIN;
}
