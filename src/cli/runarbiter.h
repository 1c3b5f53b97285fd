// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * An arbiter of its own for one command, or for several that share devices: gpuslice-arbiter as a
 * child, with a private folder, which holds the grants and the log. It ends with us.
 */

#include <limits.h>
#include <sys/types.h>

#include "arbiter/localgrant.h"
#include "base/error.h"
#include "base/text.h"

struct runarbiter {
    pid_t pid;  /* 0 = it does not run */
    int report; /* it tells on this pipe when it serves, and at its end what it counted */
    char folder[PATH_MAX]; /* "" = there is none */
    enum limits_compute compute;
};

#define RUNARBITER_INIT \
    {                   \
        .report = -1    \
    }

/* Returns once it serves. The first grant's id is LOCALGRANT_ID, those of others are others. */
int runarbiter_start(const struct localgrant grants[], size_t n, enum limits_compute compute,
                     struct runarbiter *ret_arbiter, struct error *err);

/* It ended by itself, and was waited for. Starts it again, in the same folder: processes that were
 * registered connect again and tell what they have. */
int runarbiter_restart(struct runarbiter *arbiter, struct error *err);

/* Where the library finds it. */
int runarbiter_grant_folder(const struct runarbiter *arbiter, const char *id, char path[PATH_MAX]);

/* Ends it and removes its folder; adds what it counted, a line "<uuid> <limit> <peak> <denied>" for
 * each device, in bytes. */
void runarbiter_end(struct runarbiter *arbiter, struct text *counts);
