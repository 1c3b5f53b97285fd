// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One container's process: started here, or taken over from an earlier life of the stand-in.
 *
 * Each runs in a session of its own, so that its children can be ended with it; when the first
 * process ends, what is left of its group is killed, as the end of a container does. Its end is
 * awaited through a pidfd, which works for foreign processes too: after a restart of the stand-in
 * they are nobody's children here, and their exit code stays unknown.
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
    const char *log_path; /* gets stdout and stderr, appended */
    bool dies_with_us;    /* killed by the kernel when the stand-in ends in whatever way */
};

enum { PROCESS_EXIT_UNKNOWN = -1 };

/* exit_code: as a shell tells it (128 + signal), or PROCESS_EXIT_UNKNOWN. Frees nothing. */
typedef void process_ended_fn(struct process *process, int exit_code, void *userdata);

/*
 * Makes the process, which waits at its very beginning: so its number can be written down before it
 * does anything. If we die before process_go, it ends as well.
 */
int process_start(uv_loop_t *loop, const struct process_command *command, process_ended_fn *on_end,
                  void *userdata, struct process **ret_process, struct error *err);

/* Lets it go. A command that cannot be executed fails here, with -ENOENT, -EACCES ...; the process
 * is gone then, without on_end: free it. */
int process_go(struct process *process, struct error *err);

/* Takes over pid, if it is still the process that began at start_ticks; -ESRCH when not. */
int process_adopt(uv_loop_t *loop, pid_t pid, uint64_t start_ticks, process_ended_fn *on_end,
                  void *userdata, struct process **ret_process);

pid_t process_pid(const struct process *process);
/* With the pid, what tells this process from a later one of the same number (clock ticks after
 * boot). */
uint64_t process_start_ticks(const struct process *process);

/* Sends a signal to the process and all of its group. */
void process_signal(const struct process *process, int signal_number);

/* Stops watching; the process itself goes on. NULL is fine. */
void process_free(struct process *process);
