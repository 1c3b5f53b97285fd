// SPDX-License-Identifier: Apache-2.0

/*
 * Kills a process at its Nth system call of a name: `killpoint PID NAME N`, N = 0 never.
 *
 * Traces every thread of it, says "ready", and counts the entries of system calls from there. At
 * the Nth the process gets SIGKILL, so that this call does not happen. On SIGTERM, or when the
 * process has ended, prints what was counted, one name on a line, and lets go.
 */

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>

#include "base/array.h"

static const struct {
    long number;
    const char *name;
} names[] = {
#define CALL(name)        \
    {                     \
        SYS_##name, #name \
    }
    CALL(read),
    CALL(write),
    CALL(close),
    CALL(openat),
    CALL(fstat),
    CALL(writev),
    CALL(sendmsg),
    CALL(recvmsg),
    CALL(futex),
    CALL(flock),
    CALL(fdatasync),
    CALL(fsync),
    CALL(fallocate),
    CALL(getrandom),
    CALL(epoll_wait),
    CALL(epoll_ctl),
    CALL(accept4),
    CALL(clone3),
    CALL(mmap),
    CALL(munmap),
    CALL(madvise),
    CALL(newfstatat),
    CALL(epoll_pwait),
    CALL(mprotect),
    CALL(sched_yield),
    CALL(recvfrom),
    CALL(sendto),
    CALL(rt_sigprocmask),
    CALL(timerfd_settime),
    CALL(rename),
    CALL(ftruncate),
    CALL(getpid),
    CALL(ioctl),
    CALL(restart_syscall),
};

static volatile sig_atomic_t is_ended;

static void on_end(int number)
{
    (void)number;
    is_ended = 1;
}

static int seize(pid_t tid)
{
    const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE;

    if (ptrace(PTRACE_SEIZE, tid, NULL, options) < 0 || ptrace(PTRACE_INTERRUPT, tid, 0, 0) < 0)
        return -errno;
    return 0;
}

static int seize_all(pid_t pid)
{
    char path[64];
    DIR *tasks;
    const struct dirent *entry;
    int r = 0;

    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    tasks = opendir(path);
    if (!tasks)
        return -errno;
    while (r == 0 && (entry = readdir(tasks)))
        if (entry->d_name[0] != '.')
            r = seize((pid_t)strtol(entry->d_name, NULL, 10));
    closedir(tasks);
    return r;
}

static const char *name_of(long number, char buffer[24])
{
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (names[i].number == number)
            return names[i].name;
    snprintf(buffer, 24, "%ld", number);
    return buffer;
}

/* Lets a thread that has stopped go on. True = it stopped at the entry of a system call. */
static bool pass(pid_t tid, int status, long *number)
{
    struct __ptrace_syscall_info info = {.op = PTRACE_SYSCALL_INFO_NONE};
    int stopped_by = WSTOPSIG(status);

    if (stopped_by == (SIGTRAP | 0x80)) {
        if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(info), &info) < 0)
            return false;
        *number = (long)info.entry.nr;
        return info.op == PTRACE_SYSCALL_INFO_ENTRY;
    }
    ptrace(PTRACE_SYSCALL, tid, 0, status >> 16 ? 0 : stopped_by);
    return false;
}

/* Kills at the nth entry of that call, if there is one; the names of all entries, in their order.
 */
static void trace(pid_t pid, const char *name, long n)
{
    bool is_killed = false;
    int status;
    pid_t tid;

    while (!is_ended && (tid = waitpid(-1, &status, __WALL)) > 0) {
        char buffer[24];
        long number = -1;

        if (!WIFSTOPPED(status))
            continue;
        if (pass(tid, status, &number) && !is_killed) {
            puts(name_of(number, buffer));
            is_killed = strcmp(name_of(number, buffer), name) == 0 && --n == 0;
            if (is_killed)
                kill(pid, SIGKILL);
        }
        if (WSTOPSIG(status) == (SIGTRAP | 0x80) && !is_killed)
            ptrace(PTRACE_SYSCALL, tid, 0, 0);
    }
}

int main(int argc, char *argv[])
{
    const struct sigaction action = {.sa_handler = on_end};
    pid_t pid = argc == 4 ? (pid_t)strtol(argv[1], NULL, 10) : 0;
    int r;

    sigaction(SIGTERM, &action, NULL);
    r = pid > 0 ? seize_all(pid) : -EINVAL;
    if (r < 0) {
        fprintf(stderr, "killpoint: %d\n", r);
        return 1;
    }
    puts("ready");
    fflush(stdout);
    trace(pid, argv[2], strtol(argv[3], NULL, 10));
    return 0;
}
