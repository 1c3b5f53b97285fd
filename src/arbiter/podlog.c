// SPDX-License-Identifier: Apache-2.0
#include "arbiter/podlog.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"

/* The first name in the directory with this suffix. 0, PODLOG_UNKNOWN, or why it cannot be read. */
static int find_name(const char *path, const char *suffix, char ret_name[NAME_MAX + 1],
                     struct error *err)
{
    cleanup_closedir DIR *folder = opendir(path);
    const struct dirent *entry;

    if (!folder && errno == ENOENT)
        return PODLOG_UNKNOWN;
    if (!folder)
        return error_set_errno(err, -errno, "cannot open %s", path);
    while ((errno = 0, entry = readdir(folder)))
        if (str_ends_with(entry->d_name, suffix))
            return str_copy(ret_name, NAME_MAX + 1, entry->d_name);
    return errno ? error_set_errno(err, -errno, "cannot read %s", path) : PODLOG_UNKNOWN;
}

/* A name from the API server: copied only if safe for a terminal and for JSON. */
static int copy_word(char *to, size_t size, const char *from)
{
    if (!*from || from[strspn(from, "abcdefghijklmnopqrstuvwxyz0123456789-.")])
        return -EINVAL;
    return str_copy(to, size, from);
}

/* "<namespace>_<pod>_<uid>": none of the three contains a '_'. */
static int read_folder_name(char *name, struct podlog *log)
{
    const char *namespace_ = strsep(&name, "_"), *pod = strsep(&name, "_"), *uid = name;

    if (!uid || copy_word(log->namespace_, sizeof(log->namespace_), namespace_) < 0 ||
        copy_word(log->pod, sizeof(log->pod), pod) < 0 ||
        copy_word(log->pod_uid, sizeof(log->pod_uid), uid) < 0)
        return PODLOG_UNKNOWN;
    return 0;
}

/* ".../<folder>/<container>/<restart>.log" */
static int read_target(char *target, struct podlog *log)
{
    char *file = strrchr(target, '/'), *container, *folder;

    if (!file)
        return PODLOG_UNKNOWN;
    *file = '\0';
    container = strrchr(target, '/');
    if (!container)
        return PODLOG_UNKNOWN;
    *container++ = '\0';
    folder = strrchr(target, '/');
    if (copy_word(log->container, sizeof(log->container), container) < 0)
        return PODLOG_UNKNOWN;
    return read_folder_name(folder ? folder + 1 : target, log);
}

static int find_by_container(const char *root, const struct podcgroup *cgroup, struct podlog *log,
                             struct error *err)
{
    char folder[PATH_MAX], path[PATH_MAX + NAME_MAX + 2], target[PATH_MAX], name[NAME_MAX + 1];
    char suffix[PODCGROUP_ID_SIZE + 8];
    ssize_t length;
    int r;

    if (!*cgroup->container_id)
        return PODLOG_UNKNOWN;
    snprintf(folder, sizeof(folder), "%s/var/log/containers", root);
    snprintf(suffix, sizeof(suffix), "-%s.log", cgroup->container_id);
    r = find_name(folder, suffix, name, err);
    if (r != 0)
        return r;
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    length = readlink(path, target, sizeof(target) - 1);
    if (length < 0)
        return PODLOG_UNKNOWN;
    target[length] = '\0';
    r = read_target(target, log);
    /* Only the kubelet writes there; if the names disagree, the kernel's pod UID wins. */
    if (r == 0 && *cgroup->pod_uid && !str_equal(cgroup->pod_uid, log->pod_uid))
        return PODLOG_UNKNOWN;
    return r;
}

static int find_by_pod(const char *root, const struct podcgroup *cgroup, struct podlog *log,
                       struct error *err)
{
    char folder[PATH_MAX], name[NAME_MAX + 1], suffix[PODCGROUP_UID_SIZE + 1];
    int r;

    if (!*cgroup->pod_uid)
        return PODLOG_UNKNOWN;
    snprintf(folder, sizeof(folder), "%s/var/log/pods", root);
    snprintf(suffix, sizeof(suffix), "_%s", cgroup->pod_uid);
    r = find_name(folder, suffix, name, err);
    return r == 0 ? read_folder_name(name, log) : r;
}

int podlog_find(const char *root, const struct podcgroup *cgroup, struct podlog *ret_log,
                struct error *err)
{
    struct podlog log = {.pod = ""};
    int r = find_by_container(root, cgroup, &log, err);

    if (r == PODLOG_UNKNOWN) {
        log = (struct podlog){.pod = ""};
        r = find_by_pod(root, cgroup, &log, err);
    }
    if (r == 0)
        *ret_log = log;
    return r;
}
