// SPDX-License-Identifier: Apache-2.0
#include "process.h"

#include <assert.h>
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
    int gate_fd,
        report_fd; /* until process_go: our end of the pipes the child reads from and reports on */
    pid_t pid;
    uint64_t start_ticks;
    process_ended_fn *on_end;
    void *userdata;
};

/* Field 22 of /proc/PID/stat; 0 if there is no such process. */
static uint64_t read_start_ticks(pid_t pid)
{
    cleanup_free char *stat = NULL;
    char path[40], *field;
    size_t size;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    if (file_read(path, 4096, &stat, &size, NULL) < 0)
        return 0;
    /* The second field may contain spaces and parentheses: count from its end. */
    field = strrchr(stat, ')');
    for (int i = 2; field && i < 22; i++)
        field = strchr(field + 1, ' ');
    return field ? strtoull(field, NULL, 10) : 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct process *process = handle->data;

    cleanup_close_p(&process->gate_fd);
    cleanup_close_p(&process->report_fd);
    close(process->pidfd);
    free(process);
}

void process_free(struct process *process)
{
    if (process)
        uv_close((uv_handle_t *)&process->watch, on_closed);
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
    process->gate_fd = process->report_fd = -1;
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

/* The ends of the two pipes between us and a child that has not been released yet. */
struct gate {
    int wait_fd, open_fd;     /* the child reads one byte; end of file means that we died */
    int answer_fd, report_fd; /* written by the child, read by us: why exec failed */
};

static void gate_close(struct gate *gate)
{
    cleanup_close_p(&gate->wait_fd);
    cleanup_close_p(&gate->open_fd);
    cleanup_close_p(&gate->answer_fd);
    cleanup_close_p(&gate->report_fd);
}

static int gate_open(struct gate *gate)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    gate->wait_fd = ends[0];
    gate->open_fd = ends[1];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    gate->answer_fd = ends[0];
    gate->report_fd = ends[1];
    return 0;
}

/* In the child: sets up everything and calls exec; reports the first failure. */
static __attribute__((noreturn)) void run(const struct process_command *command, pid_t parent,
                                          struct gate *gate)
{
    sigset_t none;
    int fd, code;
    char go;

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
    close(TAKE_FD(gate->open_fd));
    if (read(gate->wait_fd, &go, 1) != 1)
        _exit(126);
    fd = open("/dev/null", O_RDONLY);
    if (fd >= 0)
        dup2(fd, STDIN_FILENO);
    fd = open(command->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (fd >= 0 && dup2(fd, STDOUT_FILENO) >= 0 && dup2(fd, STDERR_FILENO) >= 0)
        execvpe(command->argv[0], command->argv, command->environment);
    code = errno;
    (void)!write(gate->report_fd, &code, sizeof(code));
    _exit(127);
}

int process_start(uv_loop_t *loop, const struct process_command *command, process_ended_fn *on_end,
                  void *userdata, struct process **ret_process, struct error *err)
{
    cleanup(gate_close) struct gate gate = {-1, -1, -1, -1};
    pid_t parent = getpid(), pid;
    int r = gate_open(&gate);

    if (r < 0)
        return error_set_errno(err, r, "cannot start %s", command->argv[0]);
    pid = fork();
    if (pid < 0)
        return error_set_errno(err, -errno, "cannot start %s", command->argv[0]);
    if (pid == 0)
        run(command, parent, &gate);
    r = watch_process(loop, pid, on_end, userdata, ret_process);
    if (r < 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        return error_set_errno(err, r, "cannot watch %s", command->argv[0]);
    }
    (*ret_process)->start_ticks = read_start_ticks(pid);
    (*ret_process)->gate_fd = TAKE_FD(gate.open_fd);
    (*ret_process)->report_fd = TAKE_FD(gate.answer_fd);
    return 0;
}

int process_go(struct process *process, struct error *err)
{
    cleanup_close int gate_fd = TAKE_FD(process->gate_fd), report_fd = TAKE_FD(process->report_fd);
    int code = 0;
    ssize_t n;

    if (write(gate_fd, "", 1) != 1)
        return error_set_errno(err, -errno, "cannot resume the process");
    /* End of file: exec closed it. */
    do
        n = read(report_fd, &code, sizeof(code));
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)sizeof(code))
        return 0;
    waitpid(process->pid, NULL, 0);
    return error_set_errno(err, -code, "exec");
}

int process_adopt(uv_loop_t *loop, pid_t pid, uint64_t start_ticks, process_ended_fn *on_end,
                  void *userdata, struct process **ret_process)
{
    struct process *process = NULL;
    int r = pid > 1 ? watch_process(loop, pid, on_end, userdata, &process) : -ESRCH;

    if (r < 0)
        return r;
    assert(process);
    /* Checked after the pidfd was opened: from then on the PID cannot be reused unnoticed. */
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
