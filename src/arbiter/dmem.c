// SPDX-License-Identifier: Apache-2.0
#include "arbiter/dmem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "arbiter/podcgroup.h"
#include "arbiter/procfs.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"

#define CGROUPS "/sys/fs/cgroup"
#define VENDOR  "nvidia/"
#define MEMORY  "/vidmem"

enum { FILE_MAX = 65536, DEPTH_MAX = 6 };

/* --- regions --- */

/* NVML has eight digits of the domain, the kernel four. */
static bool is_same_address(const char *a, const char *b, size_t b_size)
{
    const size_t a_zeros = strspn(a, "0"), b_zeros = strspn(b, "0");

    if (b_zeros >= b_size)
        return false;
    a += a_zeros;
    b += b_zeros;
    b_size -= b_zeros;
    return strlen(a) == b_size && strncasecmp(a, b, b_size) == 0;
}

/* Adds `REGION BYTES`, if the line of dmem.capacity is the region of a limited GPU. */
static void add_limit(const char *line, size_t size, const struct dmem_limit *limits,
                      size_t n_limits, struct text *out)
{
    const char *address = line + strlen(VENDOR), *end;
    size_t name_size;

    if (!str_starts_with(line, VENDOR))
        return;
    end = strchr(address, '/');
    if (!end || end >= line + size || !str_starts_with(end, MEMORY " "))
        return;
    name_size = (size_t)(end - line) + strlen(MEMORY);
    for (size_t i = 0; i < n_limits; i++) {
        if (!is_same_address(limits[i].pci_address, address, (size_t)(end - address)))
            continue;
        if (limits[i].bytes == DMEM_UNLIMITED)
            text_addf(out, "%.*s max\n", (int)name_size, line);
        else
            text_addf(out, "%.*s %" PRIu64 "\n", (int)name_size, line, limits[i].bytes);
    }
}

static int format_limits(const char *root, const struct dmem_limit *limits, size_t n_limits,
                         struct text *out, struct error *err)
{
    cleanup_free char *capacity = NULL;
    char path[PATH_MAX];
    size_t size;
    int r;

    snprintf(path, sizeof(path), "%s" CGROUPS "/dmem.capacity", root);
    r = file_read(path, FILE_MAX, &capacity, &size, err);
    if (r < 0)
        return r == -ENOENT ? DMEM_ABSENT : r;
    for (const char *line = capacity; *line; line += strcspn(line, "\n"), line += *line == '\n')
        add_limit(line, strcspn(line, "\n"), limits, n_limits, out);
    if (text_failed(out))
        return error_set_errno(err, -ENOMEM, "cannot limit memory in the kernel");
    return out->length ? 0 : DMEM_ABSENT;
}

/* --- cgroups --- */

/* Whether the container may be below: see podcgroup.h. A UID has '_' for '-' with systemd. */
static bool leads_to(const char *name, const struct podcgroup *pod)
{
    char other[PODCGROUP_UID_SIZE];

    str_copy(other, sizeof(other), pod->pod_uid);
    for (char *at = other; *at; at++)
        *at = *at == '-' ? '_' : *at;
    if (strstr(name, pod->pod_uid) || strstr(name, other))
        return true;
    if (str_equal(name, "burstable") || str_equal(name, "besteffort"))
        return true;
    return (strstr(name, "kubepods") || strstr(name, "kubelet")) && !strstr(name, "-pod");
}

/* CRI-O's monitor has a cgroup beside the container's, with the same digits in its name. */
static bool is_container(const char *name, const struct podcgroup *pod)
{
    return strstr(name, pod->container_id) && !strstr(name, "conmon");
}

/* Appends the way from here to the container's cgroup to `path`. The kernel shows paths of another
 * cgroup namespace relative to the reader's own, so names are searched instead. */
static int find_cgroup(char path[PATH_MAX], const struct podcgroup *pod, unsigned depth)
{
    cleanup_closedir DIR *directory = opendir(path);
    const size_t length = strlen(path);
    const struct dirent *entry;

    while (directory && (entry = readdir(directory))) {
        const bool is_found = is_container(entry->d_name, pod);

        if (entry->d_type != DT_DIR || (!is_found && !leads_to(entry->d_name, pod)))
            continue;
        if (snprintf(path + length, PATH_MAX - length, "/%s", entry->d_name) >=
            (int)(PATH_MAX - length))
            continue;
        if (is_found || (depth > 1 && find_cgroup(path, pod, depth - 1) == 0))
            return 0;
    }
    path[length] = '\0';
    return -ENOENT;
}

/* In one write, as the kernel reads it. */
static int write_file(const char *folder, const char *name, const char *content, struct error *err)
{
    char path[PATH_MAX];
    cleanup_close int fd = -1;
    const size_t size = strlen(content);

    if (snprintf(path, sizeof(path), "%s/%s", folder, name) >= (int)sizeof(path))
        return error_set_errno(err, -ENAMETOOLONG, "cannot write %s", name);
    fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    if (fd < 0 || write(fd, content, size) != (ssize_t)size)
        return error_set_errno(err, errno ? -errno : -EIO, "cannot write %s", path);
    return 0;
}

/* From the outermost inwards: each passes the controller on to those right below it. */
static int turn_on(const char *cgroups, const char *container, struct error *err)
{
    char path[PATH_MAX];
    int r = 0;

    for (const char *at = container + strlen(cgroups); r == 0 && at; at = strchr(at + 1, '/')) {
        snprintf(path, sizeof(path), "%.*s", (int)(at - container), container);
        r = write_file(path, "cgroup.subtree_control", "+dmem\n", err);
    }
    return r;
}

int dmem_limit(const char *root, long pid, const struct dmem_limit *limits, size_t n_limits,
               struct error *err)
{
    cleanup_text struct text lines = TEXT_INIT;
    char cgroups[PATH_MAX], path[PATH_MAX];
    struct podcgroup pod;
    int r = format_limits(root, limits, n_limits, &lines, err);

    if (r)
        return r;
    r = procfs_read_cgroup(root, pid, &pod, err);
    if (r < 0)
        return r;
    if (r || !*pod.container_id)
        return error_set(err, -ENOENT, "process %ld is in no container of a pod", pid);
    snprintf(cgroups, sizeof(cgroups), "%s" CGROUPS, root);
    memcpy(path, cgroups, sizeof(path));
    r = find_cgroup(path, &pod, DEPTH_MAX);
    if (r < 0)
        return error_set(err, r, "there is no cgroup of container %s in %s", pod.container_id,
                         cgroups);
    r = turn_on(cgroups, path, err);
    return r < 0 ? r : write_file(path, "dmem.max", text_string(&lines), err);
}
