// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The command of `gpuslice run`: a child in the cgroup of the run, with the signals and the exit
 * status of its own. */

#include <signal.h>
#include <sys/types.h>

#include "base/error.h"
#include "cli/runcgroup.h"

enum {
    RUNCOMMAND_NOT_EXECUTABLE = 126, /* as of env(1) */
    RUNCOMMAND_NOT_FOUND = 127,
    RUNCOMMAND_SIGNALLED = 128, /* and the signal's number */
};

/* A variable of the command's environment, and of nobody else's: the arbiter that is started again
 * must not have the library. */
struct runcommand_variable {
    const char *name;
    char *value; /* owned; NULL = it is left as it is */
};

enum { RUNCOMMAND_VARIABLES = 3 };

struct runcommand {
    pid_t pid;
    struct runcommand_variable variables[RUNCOMMAND_VARIABLES];
    sigset_t forwarded; /* blocked here from before the command's start */
    sigset_t previous;  /* what was blocked before, and is in the command */
};

/* From here on signals wait for runcommand_wait. */
void runcommand_prepare(struct runcommand *command);

/* argv ends with NULL; searched in PATH. 0, or a negative errno when it cannot be executed. */
int runcommand_start(struct runcommand *command, char *const argv[], const struct runcgroup *cgroup,
                     struct error *err);

void runcommand_deinit(struct runcommand *command);

/* Another child ended. */
typedef void runcommand_other_fn(pid_t pid, void *userdata);

/* Forwards signals until the command ends; returns its exit status. */
int runcommand_wait(const struct runcommand *command, runcommand_other_fn *on_other,
                    void *userdata);
