// SPDX-License-Identifier: Apache-2.0
#include "cli/runarbiter.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/environment.h"
#include "base/file.h"
#include "cli/paths.h"
#include "limits/mode.h"

enum { READY_MS = 60000, LOG_MAX = 1 << 20, COUNTS_MAX = 64 << 10, OPEN_FOLDERS = 8 };

#define ARBITER "gpuslice-arbiter"
#define READY   "ready\n"

/* --- its folder --- */

static const char *find_parent(void)
{
    const char *runtime = environment_get("XDG_RUNTIME_DIR");

    if (geteuid() == 0)
        return file_make_directory(paths_state_dir(), NULL) == 0 ? paths_state_dir() : "/tmp";
    return runtime && access(runtime, W_OK) == 0 ? runtime : "/tmp";
}

/* The command may change its user, and must find the socket then. */
static int make_folder(struct runarbiter *arbiter, struct error *err)
{
    char path[PATH_MAX], grant[PATH_MAX];

    if (snprintf(path, sizeof(path), "%s/run-XXXXXX", find_parent()) >= PATH_MAX)
        return error_set_errno(err, -ENAMETOOLONG, "cannot make a folder");
    if (!mkdtemp(path))
        return error_set_errno(err, -errno, "cannot make the folder %s", path);
    snprintf(arbiter->folder, PATH_MAX, "%s", path);
    if (chmod(path, 0711) < 0)
        return error_set_errno(err, -errno, "cannot open the folder %s", path);
    if (runarbiter_grant_folder(arbiter, LOCALGRANT_ID, grant) < 0)
        return error_set_errno(err, -ENAMETOOLONG, "cannot make a folder below %s", path);
    return file_make_directory(grant, err);
}

int runarbiter_grant_folder(const struct runarbiter *arbiter, const char *id, char path[PATH_MAX])
{
    return snprintf(path, PATH_MAX, "%s/" LOCALGRANT_FOLDER "/%s", arbiter->folder, id) >= PATH_MAX
               ? -ENAMETOOLONG
               : 0;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status, (void)type, (void)where;
    return remove(path);
}

static void remove_folder(struct runarbiter *arbiter)
{
    if (*arbiter->folder)
        nftw(arbiter->folder, remove_one, OPEN_FOLDERS, FTW_DEPTH | FTW_PHYS);
    *arbiter->folder = '\0';
}

/* --- the process --- */

/* Never returns. A session of its own: keys of the terminal are not for it. */
static void become(const char *program, const struct runarbiter *arbiter, int log, int report)
{
    char dir[PATH_MAX + 32], fd[32], compute[32];
    sigset_t none;
    const int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);

    setsid();
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    snprintf(dir, sizeof(dir), "--local-grant=%s", arbiter->folder);
    snprintf(fd, sizeof(fd), "--report-fd=%d", report);
    snprintf(compute, sizeof(compute), "--compute=%s", limits_compute_name(arbiter->compute));
    dup2(nothing, STDIN_FILENO);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    fcntl(report, F_SETFD, 0);
    execl(program, ARBITER, dir, fd, "--log-level=warning", "--limits=enforced", compute,
          (char *)NULL);
    dprintf(STDERR_FILENO, "%s: %s\n", program, strerror(errno));
    _exit(EXIT_FAILURE);
}

static int launch(struct runarbiter *arbiter, struct error *err)
{
    cleanup_close int log = -1, write_end = -1;
    char program[PATH_MAX], path[PATH_MAX];
    int pipe_fds[2], r = paths_beside(ARBITER, program, err);

    if (r < 0)
        return r;
    if (snprintf(path, sizeof(path), "%s/log", arbiter->folder) >= PATH_MAX)
        return error_set_errno(err, -ENAMETOOLONG, "cannot write below %s", arbiter->folder);
    log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log < 0 || pipe2(pipe_fds, O_CLOEXEC) < 0)
        return error_set_errno(err, -errno, "cannot start %s", program);
    arbiter->report = pipe_fds[0];
    write_end = pipe_fds[1];
    arbiter->pid = fork();
    if (arbiter->pid == 0)
        become(program, arbiter, log, write_end);
    if (arbiter->pid < 0) {
        arbiter->pid = 0;
        return error_set_errno(err, -errno, "cannot start %s", program);
    }
    return 0;
}

/* Its last line says why it ended. */
static int explain(const struct runarbiter *arbiter, struct error *err)
{
    cleanup_free char *data = NULL;
    char path[PATH_MAX];
    const char *last;
    size_t size = 0;

    snprintf(path, sizeof(path), "%.*s/log", PATH_MAX - 8, arbiter->folder);
    if (file_read(path, LOG_MAX, &data, &size, NULL) < 0 || !size)
        return error_set(err, -EIO, ARBITER " did not start, and does not say why");
    while (size && data[size - 1] == '\n')
        data[--size] = '\0';
    last = strrchr(data, '\n');
    return error_set(err, -EIO, ARBITER " did not start: %s", last ? last + 1 : data);
}

static int wait_until_ready(const struct runarbiter *arbiter, struct error *err)
{
    struct pollfd event = {.fd = arbiter->report, .events = POLLIN};
    char word[sizeof(READY) - 1];
    int r;

    do
        r = poll(&event, 1, READY_MS);
    while (r < 0 && errno == EINTR);
    if (r == 0)
        return error_set(err, -ETIMEDOUT, ARBITER " was not ready within %d s", READY_MS / 1000);
    if (read(arbiter->report, word, sizeof(word)) != (ssize_t)sizeof(word) ||
        memcmp(word, READY, sizeof(word)) != 0)
        return explain(arbiter, err);
    return 0;
}

int runarbiter_start(const struct localgrant grants[], size_t n, enum limits_compute compute,
                     struct runarbiter *ret_arbiter, struct error *err)
{
    struct runarbiter arbiter = RUNARBITER_INIT;
    int r = make_folder(&arbiter, err);

    arbiter.compute = compute;
    for (size_t i = 0; r == 0 && i < n; i++)
        r = localgrant_store(arbiter.folder, &grants[i], err);
    if (r == 0)
        r = launch(&arbiter, err);
    if (r == 0)
        r = wait_until_ready(&arbiter, err);
    if (r < 0) {
        runarbiter_end(&arbiter, NULL);
        return r;
    }
    *ret_arbiter = arbiter;
    return 0;
}

int runarbiter_restart(struct runarbiter *arbiter, struct error *err)
{
    int r;

    arbiter->pid = 0;
    close(arbiter->report);
    arbiter->report = -1;
    r = launch(arbiter, err);
    return r < 0 ? r : wait_until_ready(arbiter, err);
}

void runarbiter_end(struct runarbiter *arbiter, struct text *counts)
{
    if (arbiter->pid) {
        kill(arbiter->pid, SIGTERM);
        if (counts)
            file_read_all(arbiter->report, COUNTS_MAX, counts);
        waitpid(arbiter->pid, NULL, 0); /* ECHILD: it was reaped already */
    }
    if (arbiter->report >= 0)
        close(arbiter->report);
    remove_folder(arbiter);
    *arbiter = (struct runarbiter)RUNARBITER_INIT;
}
