// SPDX-License-Identifier: Apache-2.0
#include "cli/probe.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "cli/paths.h"
#include "limits/message.h"

#define PROBER "gpuslice-prober"

/* Sockets have these numbers in the command: dash knows none above 9. */
enum { FIRST_FD = 8 };

/* Never returns. */
static void become(uint64_t limit_bytes, const char *device, unsigned n_processes,
                   const int sockets[], const char *prober)
{
    static const char *const scripts[PROBE_PROCESSES_MAX] = {
        "exec \"$0\" <&8 >&8", "\"$0\" <&9 >&9 & \"$0\" <&8 >&8; wait"};
    const char *script = scripts[n_processes > 1];
    char memory[32];

    snprintf(memory, sizeof(memory), "%" PRIu64, limit_bytes);
    for (unsigned i = 0; i < n_processes; i++)
        dup2(sockets[i], FIRST_FD + (int)i);
    if (limit_bytes)
        execl("/proc/self/exe", "gpuslice", "run", "--memory", memory, "--device", device, "--own",
              "--", "sh", "-c", script, prober, (char *)NULL);
    else
        execl("/bin/sh", "sh", "-c", script, prober, (char *)NULL);
    _exit(EXIT_FAILURE);
}

static int make_sockets(unsigned n_processes, struct probe *probe, int theirs[], struct error *err)
{
    for (unsigned i = 0; i < n_processes; i++) {
        int pair[2];

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
            return error_set_errno(err, -errno, "cannot start " PROBER);
        probe->fds[i] = pair[0];
        theirs[i] = pair[1];
    }
    return 0;
}

static void close_sockets(const int fds[])
{
    for (unsigned i = 0; i < PROBE_PROCESSES_MAX; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

/* Behind fork: of the parent. */
static int check_fork(struct probe *probe, struct error *err)
{
    const int r = probe->pid < 0 ? -errno : 0;

    probe->pid = r < 0 ? 0 : probe->pid;
    return r < 0 ? error_set_errno(err, r, "cannot start " PROBER) : 0;
}

int probe_start(uint64_t limit_bytes, const char *device, unsigned n_processes,
                struct probe *ret_probe, struct error *err)
{
    struct probe probe = PROBE_INIT;
    int theirs[PROBE_PROCESSES_MAX] = {-1, -1}, r;
    char prober[PATH_MAX];

    assert(n_processes >= 1 && n_processes <= PROBE_PROCESSES_MAX);
    r = paths_beside(PROBER, prober, err);
    if (r == 0)
        r = make_sockets(n_processes, &probe, theirs, err);
    if (r == 0) {
        probe.pid = fork();
        if (probe.pid == 0)
            become(limit_bytes, device, n_processes, theirs, prober);
        r = check_fork(&probe, err);
    }
    close_sockets(theirs);
    *ret_probe = probe;
    return r;
}

/* --- one that waits for its grant --- */

static int read_line(int fd, char *line, size_t size, struct error *err)
{
    size_t n = 0;

    while (n + 1 < size) {
        struct pollfd event = {.fd = fd, .events = POLLIN};
        const int r = poll(&event, 1, PROBE_WAIT_MS);

        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            return error_set(err, -ETIMEDOUT, PROBER " does not answer");
        if (read(fd, line + n, 1) != 1)
            return error_set(err, -ESRCH, PROBER " has ended");
        if (line[n] == '\n')
            break;
        n++;
    }
    line[n] = '\0';
    return 0;
}

/* Never returns. The first line is the folder of its grant. Before that it closes our ends of its
 * own socket and of others', so that each ends when we do. */
static void become_held(int socket, const char *prober)
{
    char folder[PATH_MAX], *preload;

    dup2(socket, STDIN_FILENO);
    dup2(socket, STDOUT_FILENO);
    closefrom(STDERR_FILENO + 1);
    if (read_line(STDIN_FILENO, folder, sizeof(folder), NULL) < 0)
        _exit(EXIT_FAILURE);
    preload = *folder ? paths_preload() : NULL;
    if (*folder && (!preload || setenv("LD_PRELOAD", preload, 1) < 0 ||
                    setenv(LIMITS_GRANT_VARIABLE, folder, 1) < 0))
        _exit(EXIT_FAILURE);
    execl(prober, PROBER, (char *)NULL);
    _exit(EXIT_FAILURE);
}

int probe_hold(struct probe *ret_probe, struct error *err)
{
    struct probe probe = PROBE_INIT;
    int theirs[PROBE_PROCESSES_MAX] = {-1, -1};
    char prober[PATH_MAX];
    int r = paths_beside(PROBER, prober, err);

    if (r == 0)
        r = make_sockets(1, &probe, theirs, err);
    if (r == 0) {
        probe.pid = fork();
        if (probe.pid == 0)
            become_held(theirs[0], prober);
        r = check_fork(&probe, err);
    }
    close_sockets(theirs);
    *ret_probe = probe;
    return r;
}

int probe_release(const struct probe *probe, const char *grant_folder, struct error *err)
{
    return probe_ask(probe, 0, grant_folder, err);
}

void probe_end(struct probe *probe)
{
    close_sockets(probe->fds); /* it ends with its input */
    if (probe->pid)
        waitpid(probe->pid, NULL, 0);
    *probe = (struct probe)PROBE_INIT;
}

int probe_ask(const struct probe *probe, unsigned process, const char *line, struct error *err)
{
    cleanup_free char *text = NULL;
    int r = asprintf(&text, "%s\n", line) < 0 ? -ENOMEM : 0;

    if (r == 0)
        r = file_write_all(probe->fds[process], text, strlen(text));
    return r < 0 ? error_set_errno(err, r, PROBER " has ended") : 0;
}

int probe_answer(const struct probe *probe, unsigned process, char answer[PROBE_ANSWER_SIZE],
                 struct error *err)
{
    int r = read_line(probe->fds[process], answer, PROBE_ANSWER_SIZE, err), code, n = 0;

    if (r < 0)
        return r;
    if (sscanf(answer, "%d%n", &code, &n) != 1 || code < 0)
        return error_set(err, -EBADMSG, PROBER " answers '%.40s'", answer);
    memmove(answer, answer + n, strlen(answer + n) + 1);
    return code;
}

int probe_call(const struct probe *probe, unsigned process, const char *line,
               char answer[PROBE_ANSWER_SIZE], struct error *err)
{
    const int r = probe_ask(probe, process, line, err);

    return r < 0 ? r : probe_answer(probe, process, answer, err);
}
