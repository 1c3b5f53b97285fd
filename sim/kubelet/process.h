// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One container's process: started here, or adopted from a previous run of the stand-in.
 *
 * Each runs in its own session, so that its children can be stopped with it; when the first process
 * exits, the rest of its group is killed, as in a real container. Exit is detected through a pidfd,
 * which also works for foreign processes: after a restart of the stand-in they are no longer its
 * children, and their exit code stays unknown.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "base/error.h"

struct process;

struct process_command {
    char *const *argv;
    char *const *environment;
    const char *log_path; /* appended stdout and stderr */
    bool dies_with_us;    /* killed by the kernel when the stand-in dies, however it dies */
};

enum { PROCESS_EXIT_UNKNOWN = -1 };

/* exit_code: as in a shell (128 + signal), or PROCESS_EXIT_UNKNOWN. Frees nothing. */
typedef void process_ended_fn(struct process *process, int exit_code, void *userdata);

/*
 * Forks the process, which blocks before exec, so that its PID can be recorded before it does
 * anything. If we die before process_go, it exits as well.
 */
int process_start(uv_loop_t *loop, const struct process_command *command, process_ended_fn *on_end,
                  void *userdata, struct process **ret_process, struct error *err);

/* Lets it exec. Fails with -ENOENT, -EACCES ... if the command cannot be executed; the process is
 * then gone, without on_end: free it. */
int process_go(struct process *process, struct error *err);

/* Adopts pid, if it is still the process that started at start_ticks; -ESRCH if not. */
int process_adopt(uv_loop_t *loop, pid_t pid, uint64_t start_ticks, process_ended_fn *on_end,
                  void *userdata, struct process **ret_process);

pid_t process_pid(const struct process *process);
/* Together with the PID identifies a process across PID reuse (clock ticks after boot). */
uint64_t process_start_ticks(const struct process *process);

/* Sends a signal to the process and its whole group. */
void process_signal(const struct process *process, int signal_number);

/* Stops watching; the process keeps running. NULL is allowed. */
void process_free(struct process *process);
