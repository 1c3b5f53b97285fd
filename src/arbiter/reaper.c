// SPDX-License-Identifier: Apache-2.0
#include "arbiter/reaper.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arbiter/podlog.h"
#include "arbiter/procfs.h"

bool reaper_is_ready(const struct violation *violation, uint64_t now_ms)
{
    return !violation->killed_ms || now_ms >= violation->killed_ms + REAPER_PAUSE_MS;
}

/* --- one process --- */

static int hold(uint32_t pid)
{
    const int fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);

    return fd < 0 ? -errno : fd;
}

static int send_signal(int fd, int number)
{
    return syscall(SYS_pidfd_send_signal, fd, number, NULL, 0) < 0 ? -errno : 0;
}

/* A nested path may have been made by a container or a user's session (podcgroup.h). */
static bool is_theirs(const char *root, const struct podcgroup *cgroup,
                      const struct audit_owner *owner)
{
    struct podlog log = {.container = ""};

    if (cgroup->is_nested || !str_equal(cgroup->pod_uid, owner->pod_uid))
        return false;
    if (podlog_find(root, cgroup, &log, NULL) != 0)
        log.container[0] = '\0';
    return str_equal(log.container, owner->container);
}

/* While it is held: what is read is of the process that is held if that still lives afterwards. */
static int check(const char *root, int fd, uint32_t pid, const struct audit_owner *owner,
                 uint64_t began_ticks, struct error *err)
{
    struct podcgroup cgroup = {.pod_uid = ""};
    uint64_t started;
    int r = procfs_read_start(root, pid, &started, err);

    if (r == 0)
        r = procfs_read_cgroup(root, pid, &cgroup, err);
    if (send_signal(fd, 0) == -ESRCH || (r == 0 && started >= began_ticks))
        return REAPER_GONE;
    if (r < 0)
        return r;
    return r == 0 && is_theirs(root, &cgroup, owner) ? 0 : REAPER_NOT_THEIRS;
}

int reaper_kill(const char *root, uint32_t pid, const struct audit_owner *owner,
                uint64_t began_ticks, struct error *err)
{
    cleanup_close int fd = hold(pid);
    int r;

    if (fd == -ESRCH)
        return REAPER_GONE;
    if (fd < 0)
        return error_set_errno(err, fd, "cannot take hold of process %u", pid);
    r = check(root, fd, pid, owner, began_ticks, err);
    if (r != 0)
        return r;
    r = send_signal(fd, SIGKILL);
    if (r == -ESRCH)
        return REAPER_GONE;
    return r < 0 ? error_set_errno(err, r, "cannot kill process %u", pid) : 0;
}

/* --- those of a violation --- */

static uint64_t known_bytes(const struct gpu_process *process)
{
    return process->mem_bytes == GPU_MEMORY_UNKNOWN ? 0 : process->mem_bytes;
}

static int compare_memory(const void *a, const void *b)
{
    const struct gpu_process *one = a, *other = b;

    if (known_bytes(one) != known_bytes(other))
        return known_bytes(one) > known_bytes(other) ? -1 : 1;
    return one->pid < other->pid ? -1 : one->pid > other->pid;
}

void reaper_act(const char *root, struct violation *violation, const struct reading *reading,
                const struct audit *audit, uint64_t now_ms, reaper_done_fn *done, void *userdata)
{
    const struct audit_use *use = violation_find_use(violation, audit);
    const size_t gpu = use ? audit->devices[use->device].device.gpu : reading->usage.n;
    struct gpu_processes *list = &reading->usage.of_gpus[gpu].list;
    bool is_any_theirs = false;

    if (gpu >= reading->usage.n || !list->n_items)
        return;
    qsort(list->items, list->n_items, sizeof(*list->items), compare_memory);
    for (size_t i = 0; i < list->n_items; i++) {
        const struct gpu_process *process = &list->items[i];
        struct error err = ERROR_INIT;
        int r;

        if (audit_find_device(audit, gpu, process->instance) != use->device)
            continue;
        r = reaper_kill(root, process->pid, &violation->owner, reading->began_ticks, &err);
        if (r == REAPER_NOT_THEIRS)
            continue;
        is_any_theirs = true;
        violation->killed_ms = now_ms;
        done(violation, process->pid, r, r < 0 ? error_text(&err) : "", userdata);
        /* Whether the rest is still too much, the next audit tells. */
        if (r >= 0 && violation->verdict == AUDIT_OVER)
            return;
    }
    if (!is_any_theirs && !violation->is_out_of_reach)
        done(violation, violation->pid, REAPER_NOT_THEIRS,
             "it is in a cgroup that others than the kubelet may have made, or has left the pod's",
             userdata);
    violation->is_out_of_reach = !is_any_theirs;
}
