// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One program at a time changes how this node's GPUs are partitioned: it holds a lock on the file
 * `mig.lock` in the state folder until it ends. The kernel releases it also after SIGKILL.
 */

#include "base/error.h"

enum miglock_outcome {
    MIGLOCK_HELD = 1, /* by another program; err names it */
};

/* 0 and *ret_fd (close it to release the lock), MIGLOCK_HELD, or a negative errno. */
int miglock_take(const char *state_dir, const char *program, int *ret_fd, struct error *err);
