// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The health of the GPUs across agent restarts: `health` below the state directory, which is on a
 * tmpfs (/run), so that a reboot clears it. Trouble with the file is logged and changes nothing
 * else.
 */

#include <limits.h>
#include <stdbool.h>

#include "base/lograte.h"
#include "health/health.h"

struct healthfile {
    const char *folder; /* borrowed */
    char path[PATH_MAX];
    char boot[64];          /* the kernel's boot id: state of another boot is ignored */
    struct lograte failure; /* of saving */
};

void healthfile_init(struct healthfile *file, const char *folder);

/* Into an empty health. */
void healthfile_load(const struct healthfile *file, struct health *health);

void healthfile_save(struct healthfile *file, const struct health *health);
