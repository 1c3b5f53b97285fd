// SPDX-License-Identifier: Apache-2.0
#include "plugin/foreignplugin.h"

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

bool foreignplugin_is_live(const char *folder, const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int n = snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", folder, name);

    if (fd < 0 || n < 0 || (size_t)n >= sizeof(address.sun_path))
        return false;
    /* A full backlog (EAGAIN) has a listener, only a slow one. */
    return connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 || errno == EAGAIN;
}

/* The names it may have, newest first. Returns how many. */
static size_t list_names(const char *resource, char ret_names[2][FOREIGNPLUGIN_NAME_SIZE])
{
    if (!str_starts_with(resource, DOMAIN))
        return 0;
    snprintf(ret_names[0], FOREIGNPLUGIN_NAME_SIZE, "nvidia-%s.sock", resource + strlen(DOMAIN));
    snprintf(ret_names[1], FOREIGNPLUGIN_NAME_SIZE, "nvidia.sock");
    return str_equal(resource, DOMAIN "gpu") ? 2 : 1;
}

bool foreignplugin_is_named(const char *name, const char *resource)
{
    char names[2][FOREIGNPLUGIN_NAME_SIZE];
    const size_t n = list_names(resource, names);

    for (size_t i = 0; i < n; i++)
        if (str_equal(names[i], name))
            return true;
    return false;
}

bool foreignplugin_find(const char *folder, const char *resource,
                        char ret_name[FOREIGNPLUGIN_NAME_SIZE])
{
    char names[2][FOREIGNPLUGIN_NAME_SIZE];
    const size_t n = list_names(resource, names);

    for (size_t i = 0; i < n; i++)
        if (foreignplugin_is_live(folder, names[i])) {
            memcpy(ret_name, names[i], FOREIGNPLUGIN_NAME_SIZE);
            return true;
        }
    return false;
}

uint64_t foreignplugin_birth_ns(const char *folder, const char *name)
{
    struct stat found;
    char path[PATH_MAX];
    int n = snprintf(path, sizeof(path), "%s/%s", folder, name);

    if (n < 0 || (size_t)n >= sizeof(path) || lstat(path, &found) < 0)
        return 0;
    return (uint64_t)found.st_ctim.tv_sec * 1000000000u + (uint64_t)found.st_ctim.tv_nsec;
}
