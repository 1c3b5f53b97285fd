// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One look at the driver: the processes of each GPU, as its helper lists them.
 *
 * A GPU that the driver cannot use, or whose answer does not come, is noted with the reason; the
 * others are read.
 */

#include <stdint.h>

#include "gpu/driver.h"
#include "gpu/usage.h"

struct reading {
    struct inventory machine; /* as it was when the reading began */
    struct usage usage;
    uint64_t began_ticks; /* by the clock of procfs_read_start: a process that is in `usage` had
                             started by then, or soon after */
};

/* Owned by who gets it: reading_free. */
typedef void reading_done_fn(struct reading *reading, void *userdata);

/* done runs once, possibly within this call or driver_free. 0 or -ENOMEM: it does not run. */
int reading_begin(struct driver *driver, const struct inventory *machine, uint64_t deadline_ms,
                  reading_done_fn *done, void *userdata);

/* NULL is allowed. */
void reading_free(struct reading *reading);
DEFINE_CLEANUP(struct reading *, reading_free)
