// SPDX-License-Identifier: Apache-2.0
#include "gpu/reset.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "gpu/guard.h"

enum { OUTPUT_MAX = 4096, CANNOT_START = 127 };

/* In the child: it ends with us, and writes nothing into our log. */
static _Noreturn void run(const char *uuid, int output)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (dup2(output, STDOUT_FILENO) >= 0 && dup2(output, STDERR_FILENO) >= 0)
        execlp("nvidia-smi", "nvidia-smi", "--gpu-reset", "-i", uuid, (char *)NULL);
    _exit(CANNOT_START);
}

/* What it writes, up to a limit; the rest is read and dropped, so that it is not stopped by us. */
static void read_output(int fd, char output[OUTPUT_MAX])
{
    size_t length = 0;
    char rest[256];
    ssize_t n;

    for (;;) {
        const bool is_full = length == OUTPUT_MAX - 1;

        n = read(fd, is_full ? rest : output + length,
                 is_full ? sizeof(rest) : OUTPUT_MAX - 1 - length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        length += is_full ? 0 : (size_t)n;
    }
    output[length] = '\0';
}

/* nvidia-smi's man page lists the statuses; that a process holds the GPU is in the text alone. */
static int reset_outcome(int status, const char *output)
{
    static const struct {
        int status, outcome;
    } rows[] = {{0, 0},       {3, GPU_UNSUPPORTED}, {4, -EPERM},   {6, -ENXIO},
                {9, -ENODEV}, {12, -ENOENT},        {15, GPU_LOST}};

    if (status != 0 && (strcasestr(output, "in use") || strcasestr(output, "being used")))
        return GPU_IN_USE;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (rows[i].status == status)
            return rows[i].outcome;
    return strcasestr(output, "not supported") ? GPU_UNSUPPORTED : -EIO;
}

static void set_reason(int status, char *output, struct gpu_changed *changed)
{
    const char *line = output + strspn(output, " \n");

    if (status == CANNOT_START) {
        snprintf(changed->reason, sizeof(changed->reason),
                 "nvidia-smi, which resets GPUs, cannot be started: is it on PATH?");
        return;
    }
    for (char *c = output; *c; c++)
        if (*c == '\n')
            *c = ' ';
    str_make_line(output);
    snprintf(changed->reason, sizeof(changed->reason), "nvidia-smi --gpu-reset: %.200s",
             *line ? line : "it failed without a word");
}

static int start(const char *uuid, pid_t *ret_pid, int *ret_output)
{
    int ends[2];
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    pid = fork();
    if (pid == 0)
        run(uuid, ends[1]);
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return -errno;
    }
    *ret_pid = pid;
    *ret_output = ends[0];
    return 0;
}

void reset_gpu(const char *uuid, uint64_t more_ms, struct gpu_changed *ret_changed)
{
    cleanup_close int fd = -1;
    char output[OUTPUT_MAX];
    int status = 0, r;
    pid_t pid = 0;

    memset(ret_changed, 0, sizeof(*ret_changed));
    ret_changed->instance = (struct device_instance){DEVICE_NO_INSTANCE, DEVICE_NO_INSTANCE};
    r = start(uuid, &pid, &fd);
    if (r < 0) {
        ret_changed->outcome = r;
        snprintf(ret_changed->reason, sizeof(ret_changed->reason), "cannot start nvidia-smi: %s",
                 strerror(-r));
        return;
    }
    guard_enter("nvidia-smi --gpu-reset", uuid, more_ms);
    read_output(fd, output);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    guard_leave();
    status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    ret_changed->outcome = status == CANNOT_START ? -ENOENT : reset_outcome(status, output);
    if (ret_changed->outcome)
        set_reason(status, output, ret_changed);
}
