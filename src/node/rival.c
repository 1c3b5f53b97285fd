// SPDX-License-Identifier: Apache-2.0
#include "node/rival.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/text.h"

#define DOMAIN "nvidia.com/"

bool rival_is_live(const char *folder, const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int n = snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", folder, name);

    if (fd < 0 || n < 0 || (size_t)n >= sizeof(address.sun_path))
        return false;
    /* A full queue of connections (EAGAIN) has a listener, only a slow one. */
    return connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 || errno == EAGAIN;
}

static bool is_rival(const char *folder, const char *name, char ret_name[RIVAL_NAME_SIZE])
{
    bool live = rival_is_live(folder, name);

    if (live)
        snprintf(ret_name, RIVAL_NAME_SIZE, "%s", name);
    return live;
}

bool rival_find(const char *folder, const char *resource, char ret_name[RIVAL_NAME_SIZE])
{
    char name[RIVAL_NAME_SIZE];

    if (!str_starts_with(resource, DOMAIN))
        return false;
    snprintf(name, sizeof(name), "nvidia-%s.sock", resource + strlen(DOMAIN));
    return is_rival(folder, name, ret_name) ||
           (str_equal(resource, DOMAIN "gpu") && is_rival(folder, "nvidia.sock", ret_name));
}

uint64_t rival_born_ns(const char *folder, const char *name)
{
    struct stat found;
    char path[PATH_MAX];
    int n = snprintf(path, sizeof(path), "%s/%s", folder, name);

    if (n < 0 || (size_t)n >= sizeof(path) || lstat(path, &found) < 0)
        return 0;
    return (uint64_t)found.st_ctim.tv_sec * 1000000000u + (uint64_t)found.st_ctim.tv_nsec;
}
