// SPDX-License-Identifier: Apache-2.0
#include "arbiter/procfs.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/number.h"
#include "base/text.h"

enum { STAT_MAX = 4096 };

/* kthreadd has this PID on the node itself, and is in no container. */
bool procfs_is_node(const char *root)
{
    cleanup_free char *name = NULL;
    char path[PATH_MAX];
    size_t size;

    snprintf(path, sizeof(path), "%s/proc/2/comm", root);
    return file_read(path, 64, &name, &size, NULL) == 0 && str_equal(name, "kthreadd\n");
}

static int explain_no_pod(const char *text, long pid, struct error *err)
{
    if (str_equal(text, "0::/\n"))
        error_set(err, -ENOENT,
                  "process %ld belongs to no pod, or to the same container as gpuslice", pid);
    else
        error_set(err, -ENOENT, "process %ld belongs to no pod", pid);
    return PODCGROUP_NO_POD;
}

int procfs_read_cgroup(const char *root, long pid, struct podcgroup *ret_pod, struct error *err)
{
    cleanup_free char *text = NULL;
    char path[PATH_MAX];
    size_t size;
    int r;

    snprintf(path, sizeof(path), "%s/proc/%ld/cgroup", root, pid);
    r = file_read(path, PODCGROUP_TEXT_MAX, &text, &size, err);
    if (r == -ENOENT || r == -ESRCH)
        return error_set(err, r, "there is no process %ld in %s/proc", pid, root);
    if (r < 0)
        return r;
    r = podcgroup_parse(text, size, ret_pod, err);
    if (r < 0)
        return error_wrap(err, r, "cannot determine the pod of process %ld", pid);
    return r == PODCGROUP_NO_POD ? explain_no_pod(text, pid, err) : r;
}

static bool is_nested_ourselves(void)
{
    struct podcgroup own = {.pod_uid = ""};

    return procfs_read_cgroup("", getpid(), &own, NULL) == 0 && own.is_nested;
}

int procfs_read_pod(const char *root, long pid, struct podcgroup *ret_pod, struct error *err)
{
    struct podcgroup pod = {.pod_uid = ""};
    const int r = procfs_read_cgroup(root, pid, &pod, err);

    if (r == 0 && pod.is_nested && !is_nested_ourselves()) {
        error_set(err, -ENOENT, "process %ld is in a cgroup that others than the kubelet made",
                  pid);
        return PODCGROUP_NO_POD;
    }
    if (r == 0 || r == PODCGROUP_HIDDEN)
        *ret_pod = pod;
    return r;
}

/* proc(5): the start is field 22; the name, field 2, is in parentheses and may hold any. */
static bool parse_start(const char *text, uint64_t *ret_ticks)
{
    const char *at = strrchr(text, ')');

    for (int field = 2; at && field < 22; field++) {
        at = strchr(at, ' ');
        at = at ? at + 1 : NULL;
    }
    return at && number_digits(&at, ret_ticks) && *at == ' ';
}

int procfs_read_start(const char *root, long pid, uint64_t *ret_ticks, struct error *err)
{
    cleanup_free char *text = NULL;
    char path[PATH_MAX];
    size_t size;
    int r;

    snprintf(path, sizeof(path), "%s/proc/%ld/stat", root, pid);
    r = file_read(path, STAT_MAX, &text, &size, err);
    if (r < 0)
        return r;
    return parse_start(text, ret_ticks) ? 0 : error_set(err, -EBADMSG, "cannot parse %s", path);
}

uint64_t procfs_now(void)
{
    const uint64_t hertz = (uint64_t)sysconf(_SC_CLK_TCK);
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * hertz + (uint64_t)now.tv_nsec * hertz / 1000000000u;
}
