// SPDX-License-Identifier: Apache-2.0
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/file.h"

struct process {
    uv_poll_t watch; /* of the pidfd */
    int pidfd;
    pid_t pid;
    uint64_t start_ticks;
    process_ended_fn *on_end;
    void *userdata;
};

/* Field 22 of /proc/PID/stat; 0 when there is no such process. */
static uint64_t read_start_ticks(pid_t pid)
{
    cleanup_free char *stat = NULL;
    char path[40], *field;
    size_t size;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    if (file_read(path, 4096, &stat, &size, NULL) < 0)
        return 0;
    /* The second field may hold blanks and brackets: count from its end. */
    field = strrchr(stat, ')');
    for (int i = 2; field && i < 22; i++)
        field = strchr(field + 1, ' ');
    return field ? strtoull(field, NULL, 10) : 0;
}

static void forget(uv_handle_t *handle)
{
    struct process *process = handle->data;

    close(process->pidfd);
    free(process);
}

void process_free(struct process *process)
{
    if (process)
        uv_close((uv_handle_t *)&process->watch, forget);
}

static int collect_exit_code(pid_t pid)
{
    int status;
    pid_t r;

    do
        r = waitpid(pid, &status, WNOHANG);
    while (r < 0 && errno == EINTR);
    if (r != pid)
        return PROCESS_EXIT_UNKNOWN;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void handle_end(uv_poll_t *watch, int status, int events)
{
    struct process *process = watch->data;

    uv_poll_stop(watch);
    kill(-process->pid, SIGKILL);
    process->on_end(process, collect_exit_code(process->pid), process->userdata);
}

static int watch_process(uv_loop_t *loop, pid_t pid, process_ended_fn *on_end, void *userdata,
                         struct process **ret_process)
{
    struct process *process = calloc(1, sizeof(*process));
    int r;

    if (!process)
        return -ENOMEM;
    process->pid = pid;
    process->on_end = on_end;
    process->userdata = userdata;
    process->watch.data = process;
    process->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (process->pidfd < 0) {
        r = -errno;
        free(process);
        return r;
    }
    r = uv_poll_init(loop, &process->watch, process->pidfd);
    if (r < 0) {
        close(process->pidfd);
        free(process);
        return r;
    }
    r = uv_poll_start(&process->watch, UV_READABLE, handle_end);
    if (r < 0) {
        process_free(process);
        return r;
    }
    *ret_process = process;
    return 0;
}

/* In the child: everything that exec needs; the first failure is written to report_fd. */
static __attribute__((noreturn)) void run(const struct process_command *command, pid_t parent,
                                          int report_fd)
{
    sigset_t none;
    int fd, code;

    setsid();
    if (command->dies_with_us) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(126);
    }
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    fd = open("/dev/null", O_RDONLY);
    if (fd >= 0)
        dup2(fd, STDIN_FILENO);
    fd = open(command->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (fd >= 0 && dup2(fd, STDOUT_FILENO) >= 0 && dup2(fd, STDERR_FILENO) >= 0)
        execvpe(command->argv[0], command->argv, command->environment);
    code = errno;
    (void)!write(report_fd, &code, sizeof(code));
    _exit(127);
}

static int spawn(const struct process_command *command, pid_t *ret_pid, struct error *err)
{
    cleanup_close int in = -1, out = -1;
    pid_t parent = getpid(), pid;
    int ends[2], code = 0;
    ssize_t n;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_set_errno(err, -errno, "cannot start %s", command->argv[0]);
    in = ends[0];
    out = ends[1];
    pid = fork();
    if (pid < 0)
        return error_set_errno(err, -errno, "cannot start %s", command->argv[0]);
    if (pid == 0)
        run(command, parent, out);
    close(TAKE_FD(out));
    do
        n = read(in, &code, sizeof(code));
    while (n < 0 && errno == EINTR);
    if (n == (ssize_t)sizeof(code)) {
        waitpid(pid, NULL, 0);
        return error_set_errno(err, -code, "exec: \"%s\"", command->argv[0]);
    }
    *ret_pid = pid;
    return 0;
}

int process_start(uv_loop_t *loop, const struct process_command *command, process_ended_fn *on_end,
                  void *userdata, struct process **ret_process, struct error *err)
{
    pid_t pid = -1;
    int r = spawn(command, &pid, err);

    if (r < 0)
        return r;
    r = watch_process(loop, pid, on_end, userdata, ret_process);
    if (r < 0) {
        kill(-pid, SIGKILL);
        waitpid(pid, NULL, 0);
        return error_set_errno(err, r, "cannot watch %s", command->argv[0]);
    }
    (*ret_process)->start_ticks = read_start_ticks(pid);
    return 0;
}

int process_adopt(uv_loop_t *loop, pid_t pid, uint64_t start_ticks, process_ended_fn *on_end,
                  void *userdata, struct process **ret_process)
{
    struct process *process;
    int r = pid > 1 ? watch_process(loop, pid, on_end, userdata, &process) : -ESRCH;

    if (r < 0)
        return r;
    /* Read after the pidfd was opened: from then on the number cannot change hands unseen. */
    if (!start_ticks || read_start_ticks(pid) != start_ticks) {
        process_free(process);
        return -ESRCH;
    }
    process->start_ticks = start_ticks;
    *ret_process = process;
    return 0;
}

pid_t process_pid(const struct process *process)
{
    return process->pid;
}

uint64_t process_start_ticks(const struct process *process)
{
    return process->start_ticks;
}

void process_signal(const struct process *process, int signal_number)
{
    kill(-process->pid, signal_number);
}
