// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The grants of all commands (localgrant.h) in a folder, and which of them a process belongs to. */

#include "arbiter/localgrant.h"
#include "base/cleanup.h"
#include "grant/podrecords.h"

struct localgrants {
    struct localgrant *items;
    size_t n, capacity;
};

#define LOCALGRANTS_INIT \
    {                    \
        .items = NULL    \
    }

void localgrants_deinit(struct localgrants *grants);
#define cleanup_localgrants cleanup(localgrants_deinit)

/* Into an empty set. A folder that is not there has none; a directory that is not complete, since
 * it is being made or removed, is none. -ENOMEM, or why the folder cannot be read. */
int localgrants_read(const char *folder, struct localgrants *grants, struct error *err);

/* NULL: the process belongs to none. */
const struct localgrant *localgrants_find(const struct localgrants *grants, pid_t pid);

/* To the records of pods, as what a kubelet gave. 0 or -ENOMEM. */
int localgrants_add(const struct localgrants *grants, struct podrecords *records);
