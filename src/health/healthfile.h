// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The health of the GPUs across agent restarts: `health` below the state directory, which is on a
 * tmpfs (/run), so that a reboot clears it. Trouble with the file is logged and changes nothing
 * else. A person who removes it clears the faults that it remembers.
 */

#include <limits.h>
#include <stdbool.h>

#include "base/lograte.h"
#include "health/health.h"

struct healthfile {
    const char *folder; /* borrowed */
    char path[PATH_MAX];
    char boot[64];          /* the kernel's boot id: state of another boot is ignored */
    bool exists;            /* it was there when we read or wrote it last */
    uint64_t looked_ms;     /* for whether it was removed */
    struct lograte failure; /* of saving */
};

void healthfile_init(struct healthfile *file, const char *folder);

/* Into an empty health. Faults that do not count with these switches are dropped, each with a line
 * in the log. */
void healthfile_load(struct healthfile *file, struct health *health,
                     const struct xid_filter *filter);

/* True once, after somebody removed it. Looks once for each `now_ms`: with the loop's time a storm
 * of XIDs costs one look at the file for each wake-up. */
bool healthfile_was_removed(struct healthfile *file, uint64_t now_ms);

void healthfile_save(struct healthfile *file, const struct health *health);
