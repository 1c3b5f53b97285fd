// SPDX-License-Identifier: Apache-2.0
#include "plugin/limitmounts.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "limits/directory.h"
#include "limits/message.h"

#define PRELOAD_FILE "ld.so.preload" /* beside the library, and in the container's /etc */
#define LIBRARY_FILE "libgpuslice.so"

__attribute__((format(printf, 2, 3))) static int format(char path[PATH_MAX], const char *words, ...)
{
    va_list arguments;
    int n;

    va_start(arguments, words);
    n = vsnprintf(path, PATH_MAX, words, arguments);
    va_end(arguments);
    return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

static bool has_file(const char *folder, const char *name)
{
    char path[PATH_MAX];

    return format(path, "%s/%s", folder, name) == 0 && access(path, R_OK) == 0;
}

int limitmounts_library(const struct limitmounts *limits, char ret_library[PATH_MAX])
{
    char link[PATH_MAX], target[PATH_MAX];
    const char *version;
    ssize_t length;
    int r = format(link, "%s/lib/current", limits->folder);

    if (r < 0)
        return r;
    length = readlink(link, target, sizeof(target) - 1);
    if (length <= 0)
        return LIMITMOUNTS_NO_LIBRARY;
    target[length] = '\0';
    version = strrchr(target, '/') ? strrchr(target, '/') + 1 : target;
    r = format(link, "%s/lib/%s", limits->folder, version);
    if (r < 0)
        return r;
    if (!*version || !has_file(link, LIBRARY_FILE) || !has_file(link, PRELOAD_FILE))
        return LIMITMOUNTS_NO_LIBRARY;
    memcpy(ret_library, link, PATH_MAX);
    return 0;
}

struct pair {
    char host[PATH_MAX], container[PATH_MAX];
};

static int name_all(const char *folder, const char *library, const char *resource,
                    const char *grant_id, struct pair pairs[3])
{
    int r = format(pairs[0].host, "%s/grants/%s", folder, grant_id);

    if (r == 0)
        r = limits_directory(resource, pairs[0].container, PATH_MAX);
    if (r == 0)
        r = format(pairs[1].host, "%s", library);
    if (r == 0)
        r = format(pairs[1].container, "%s/%s", LIMITS_CONTAINER, LIMITS_LIBRARY);
    if (r == 0)
        r = format(pairs[2].host, "%s/%s", library, PRELOAD_FILE);
    return r == 0 ? format(pairs[2].container, "/etc/%s", PRELOAD_FILE) : r;
}

static int add_mount(const struct pair *pair, v1beta1_ContainerAllocateResponse *answer)
{
    v1beta1_Mount *mounts =
        reallocarray(answer->mounts, (size_t)answer->mounts_count + 1, sizeof(*mounts));

    if (!mounts)
        return -ENOMEM;
    answer->mounts = mounts;
    mounts += answer->mounts_count++;
    *mounts = (v1beta1_Mount){.container_path = strdup(pair->container),
                              .host_path = strdup(pair->host),
                              .read_only = true};
    return mounts->container_path && mounts->host_path ? 0 : -ENOMEM;
}

int limitmounts_add(const struct limitmounts *limits, const char *resource, const char *grant_id,
                    v1beta1_ContainerAllocateResponse *answer)
{
    cleanup_free struct pair *pairs = calloc(3, sizeof(*pairs));
    char library[PATH_MAX];
    int r = limitmounts_library(limits, library);

    if (r != 0)
        return r;
    r = pairs ? name_all(limits->folder, library, resource, grant_id, pairs) : -ENOMEM;
    for (size_t i = 0; r == 0 && i < 3; i++)
        r = add_mount(&pairs[i], answer);
    return r;
}
