// SPDX-License-Identifier: Apache-2.0
#include "arbiter/procfs.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"

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
