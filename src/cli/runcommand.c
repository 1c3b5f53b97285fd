// SPDX-License-Identifier: Apache-2.0
#include "cli/runcommand.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"

static const int signals[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD};

void runcommand_prepare(struct runcommand *command)
{
    sigemptyset(&command->forwarded);
    for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
        sigaddset(&command->forwarded, signals[i]);
    sigprocmask(SIG_BLOCK, &command->forwarded, &command->previous);
}

void runcommand_deinit(struct runcommand *command)
{
    for (size_t i = 0; i < RUNCOMMAND_VARIABLES; i++)
        free(command->variables[i].value);
}

static int set_variables(const struct runcommand *command)
{
    for (size_t i = 0; i < RUNCOMMAND_VARIABLES; i++)
        if (command->variables[i].value &&
            setenv(command->variables[i].name, command->variables[i].value, 1) < 0)
            return errno;
    return 0;
}

/* Never returns. The pipe closes with the exec; else it tells the errno. */
static void become(const struct runcommand *command, char *const argv[],
                   const struct runcgroup *cgroup, int report)
{
    int failure = 0;

    if (*cgroup->path)
        failure = -runcgroup_enter(cgroup);
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_SETMASK, &command->previous, NULL);
    if (!failure)
        failure = set_variables(command);
    if (!failure) {
        execvp(argv[0], argv);
        failure = errno;
    }
    if (write(report, &failure, sizeof(failure)) < 0)
        _exit(RUNCOMMAND_NOT_FOUND);
    _exit(RUNCOMMAND_NOT_EXECUTABLE);
}

int runcommand_start(struct runcommand *command, char *const argv[], const struct runcgroup *cgroup,
                     struct error *err)
{
    cleanup_close int from = -1;
    int pipe_fds[2], failure = 0;
    ssize_t n;

    if (pipe2(pipe_fds, O_CLOEXEC) < 0)
        return error_set_errno(err, -errno, "cannot start %s", argv[0]);
    from = pipe_fds[0];
    command->pid = fork();
    if (command->pid == 0)
        become(command, argv, cgroup, pipe_fds[1]);
    close(pipe_fds[1]);
    if (command->pid < 0)
        return error_set_errno(err, -errno, "cannot start %s", argv[0]);
    do
        n = read(from, &failure, sizeof(failure));
    while (n < 0 && errno == EINTR);
    if (n == 0)
        return 0;
    waitpid(command->pid, NULL, 0);
    return error_set_errno(err, failure ? -failure : -EIO, "cannot execute %s", argv[0]);
}

/* What the terminal sends, it sends to the command as well. */
static bool is_from_terminal(const siginfo_t *info)
{
    return info->si_code == SI_KERNEL && (info->si_signo == SIGINT || info->si_signo == SIGQUIT);
}

static bool reap(const struct runcommand *command, runcommand_other_fn *on_other, void *userdata,
                 int *ret_status)
{
    bool has_ended = false;
    pid_t pid;
    int status;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid != command->pid) {
            on_other(pid, userdata);
            continue;
        }
        has_ended = true;
        *ret_status =
            WIFSIGNALED(status) ? RUNCOMMAND_SIGNALLED + WTERMSIG(status) : WEXITSTATUS(status);
    }
    return has_ended;
}

int runcommand_wait(const struct runcommand *command, runcommand_other_fn *on_other, void *userdata)
{
    siginfo_t info;
    int status = 0;

    while (!reap(command, on_other, userdata, &status)) {
        if (sigwaitinfo(&command->forwarded, &info) < 0)
            continue;
        if (info.si_signo != SIGCHLD && !is_from_terminal(&info))
            kill(command->pid, info.si_signo);
    }
    return status;
}
