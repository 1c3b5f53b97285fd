// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A cgroup (version 2) of its own for one command, below that of this process: what the command
 * starts stays in it, also when its parent has ended.
 */

#include <limits.h>

#include "base/error.h"

struct runcgroup {
    char path[PATH_MAX]; /* of its directory; "" = there is none */
    char name[PATH_MAX]; /* as /proc/PID/cgroup shows it */
    int procs;           /* its cgroup.procs, open for writing; -1 = none */
};

#define RUNCGROUP_INIT \
    {                  \
        .procs = -1    \
    }

enum { RUNCGROUP_NONE = 1 };

/* 0, or RUNCGROUP_NONE: err says why there can be none here. */
int runcgroup_make(struct runcgroup *ret_cgroup, struct error *err);

/* Moves the calling process into it, between fork and exec. 0 or a negative errno. */
int runcgroup_enter(const struct runcgroup *cgroup);

enum { RUNCGROUP_KILLED = 1 };

/* Once the command has ended: what it left behind gets a moment to end, and is killed then, since
 * nobody keeps its limit any more (RUNCGROUP_KILLED). Removes the cgroup. */
int runcgroup_end(struct runcgroup *cgroup);
