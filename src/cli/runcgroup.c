// SPDX-License-Identifier: Apache-2.0
#include "cli/runcgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arbiter/localgrant.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"

enum {
    PROC_MAX = 1 << 20,
    LEAVE_MS = 2000, /* for helpers of the command that end soon after it */
    KILL_MS = 10000,
    OPEN_FOLDERS = 8,
};

struct mount {
    char root[PATH_MAX], point[PATH_MAX];
};

/* Where cgroups of version 2 are mounted: alone, or beside those of version 1. */
static int find_mount(struct mount *ret_mount)
{
    cleanup_free char *data = NULL;
    char *save = NULL;
    size_t size;
    int r = file_read("/proc/self/mountinfo", PROC_MAX, &data, &size, NULL);

    if (r < 0)
        return r;
    for (char *line = strtok_r(data, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        const char *type = strstr(line, " - ");

        if (type && str_starts_with(type, " - cgroup2 ") &&
            sscanf(line, "%*s %*s %*s %4095s %4095s", ret_mount->root, ret_mount->point) == 2)
            return 0;
    }
    return -ENOENT;
}

static int find_own(char name[PATH_MAX])
{
    cleanup_free char *data = NULL;
    char *save = NULL;
    size_t size;
    int r = file_read("/proc/self/cgroup", PROC_MAX, &data, &size, NULL);

    if (r < 0)
        return r;
    for (char *line = strtok_r(data, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        if (str_starts_with(line, "0::/"))
            return str_copy(name, PATH_MAX, line + strlen("0::"));
    return -ENOENT;
}

static int format_paths(const struct mount *mount, const char *own, struct runcgroup *cgroup)
{
    const size_t root = str_equal(mount->root, "/") ? 0 : strlen(mount->root);
    const char *below = own + root;

    if (strncmp(own, mount->root, root) != 0)
        return -ENOENT; /* another cgroup namespace's view */
    if (str_equal(own, "/"))
        own = below = "";
    if (snprintf(cgroup->name, PATH_MAX, "%s/" LOCALGRANT_CGROUP "%d", own, (int)getpid()) >=
            PATH_MAX ||
        snprintf(cgroup->path, PATH_MAX, "%s%s/" LOCALGRANT_CGROUP "%d", mount->point, below,
                 (int)getpid()) >= PATH_MAX)
        return -ENAMETOOLONG;
    return 0;
}

static int open_file(const struct runcgroup *cgroup, const char *file, int how)
{
    char path[PATH_MAX + 32];

    snprintf(path, sizeof(path), "%s/%s", cgroup->path, file);
    return open(path, how | O_CLOEXEC);
}

/* One may be made where nobody may be moved to: moving also needs the common parent. */
static int try_to_enter(const struct runcgroup *cgroup)
{
    int status;
    const pid_t pid = fork();

    if (pid < 0)
        return -errno;
    if (pid == 0)
        _exit(-runcgroup_enter(cgroup));
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
}

int runcgroup_make(struct runcgroup *ret_cgroup, struct error *err)
{
    struct runcgroup cgroup = RUNCGROUP_INIT;
    struct mount mount;
    char own[PATH_MAX];
    int r = find_mount(&mount);

    if (r == 0)
        r = find_own(own);
    if (r == 0)
        r = format_paths(&mount, own, &cgroup);
    if (r < 0) {
        error_set(err, r, "this process has no cgroup of version 2");
        return RUNCGROUP_NONE;
    }
    if (mkdir(cgroup.path, 0755) < 0) {
        error_set_errno(err, -errno, "%s cannot be made", cgroup.path);
        return RUNCGROUP_NONE;
    }
    cgroup.procs = open_file(&cgroup, "cgroup.procs", O_WRONLY);
    r = cgroup.procs < 0 ? -errno : try_to_enter(&cgroup);
    if (r < 0) {
        error_set_errno(err, r, "no process can be moved to %s", cgroup.path);
        runcgroup_end(&cgroup);
        return RUNCGROUP_NONE;
    }
    *ret_cgroup = cgroup;
    return 0;
}

int runcgroup_enter(const struct runcgroup *cgroup)
{
    return write(cgroup->procs, "0", 1) == 1 ? 0 : -errno;
}

/* --- the end --- */

static bool is_populated(int events)
{
    char text[256];
    const ssize_t n = pread(events, text, sizeof(text) - 1, 0);

    if (n < 0)
        return false;
    text[n] = '\0';
    return strstr(text, "populated 1");
}

/* False when somebody is still in it by then. */
static bool wait_until_empty(const struct runcgroup *cgroup, int64_t wait_ms)
{
    cleanup_close int fd = open_file(cgroup, "cgroup.events", O_RDONLY);
    struct pollfd event = {.fd = fd, .events = POLLPRI};
    const int64_t until_ms = (int64_t)clock_now_ms() + wait_ms;

    while (fd >= 0 && is_populated(fd)) {
        const int64_t left_ms = until_ms - (int64_t)clock_now_ms();

        if (left_ms <= 0 || (poll(&event, 1, (int)left_ms) < 0 && errno != EINTR))
            return false;
    }
    return true;
}

static int remove_folder(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status, (void)where;
    return type == FTW_DP && rmdir(path) < 0 ? -1 : 0;
}

static int end_members(const struct runcgroup *cgroup)
{
    cleanup_close int kill_file = -1;

    if (wait_until_empty(cgroup, LEAVE_MS))
        return 0;
    kill_file = open_file(cgroup, "cgroup.kill", O_WRONLY); /* Linux 5.14 */
    if (kill_file < 0 || write(kill_file, "1", 1) != 1)
        return -errno;
    return wait_until_empty(cgroup, KILL_MS) ? RUNCGROUP_KILLED : -ETIMEDOUT;
}

int runcgroup_end(struct runcgroup *cgroup)
{
    int r = 0;

    if (!*cgroup->path)
        return 0;
    r = end_members(cgroup);
    nftw(cgroup->path, remove_folder, OPEN_FOLDERS, FTW_DEPTH | FTW_PHYS);
    if (cgroup->procs >= 0)
        close(cgroup->procs);
    *cgroup = (struct runcgroup)RUNCGROUP_INIT;
    return r;
}
