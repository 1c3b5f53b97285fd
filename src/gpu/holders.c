// SPDX-License-Identifier: Apache-2.0
#include "gpu/holders.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"

static const char *proc_root(void)
{
    const char *root = getenv("GPUSLICE_PROC");

    return root ? root : "/proc";
}

/* Which of the paths the descriptors in `folder` lead to. */
static void find_open(const char *folder, const char *const *paths, size_t n_paths, bool *ret_open)
{
    cleanup_closedir DIR *dir = opendir(folder);
    const struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        char target[256];
        ssize_t n = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);

        if (n <= 0)
            continue;
        target[n] = '\0';
        for (size_t i = 0; i < n_paths; i++)
            ret_open[i] |= str_equal(paths[i], target);
    }
}

int holders_find(const char *const *paths, size_t n_paths, uint32_t self, uint32_t parent,
                 void (*found)(uint32_t pid, size_t node, void *userdata), void *userdata)
{
    cleanup_closedir DIR *dir = opendir(proc_root());
    cleanup_free bool *is_open = calloc(n_paths + 1, sizeof(*is_open));
    const struct dirent *entry;

    if (!is_open)
        return -ENOMEM;
    while (dir && (entry = readdir(dir))) {
        char folder[512], *end;
        unsigned long pid = strtoul(entry->d_name, &end, 10);

        if (*end || end == entry->d_name || pid == self || pid == parent)
            continue;
        snprintf(folder, sizeof(folder), "%s/%lu/fd", proc_root(), pid);
        memset(is_open, 0, n_paths * sizeof(*is_open));
        find_open(folder, paths, n_paths, is_open);
        for (size_t i = 0; i < n_paths; i++)
            if (is_open[i])
                found((uint32_t)pid, i, userdata);
    }
    return 0;
}

int holders_list_processes(uint32_t **ret_pids, size_t *ret_n)
{
    cleanup_closedir DIR *dir = opendir(proc_root());
    cleanup_free uint32_t *pids = NULL;
    const struct dirent *entry;
    size_t n = 0, capacity = 0;

    while (dir && (entry = readdir(dir))) {
        char *end;
        const unsigned long pid = strtoul(entry->d_name, &end, 10);
        uint32_t *noted;

        if (*end || end == entry->d_name)
            continue;
        noted = array_push(&pids, &n, &capacity, sizeof(*pids));
        if (!noted)
            return -ENOMEM;
        *noted = (uint32_t)pid;
    }
    *ret_pids = TAKE_PTR(pids);
    *ret_n = n;
    return 0;
}

void holders_name(uint32_t pid, char *ret_name, size_t size)
{
    cleanup_free char *data = NULL;
    char path[512];
    size_t length;

    *ret_name = '\0';
    snprintf(path, sizeof(path), "%s/%u/comm", proc_root(), pid);
    if (file_read(path, 256, &data, &length, NULL) < 0)
        return;
    data[strcspn(data, "\n")] = '\0';
    snprintf(ret_name, size, "%s", data);
    str_make_line(ret_name);
}
