// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the next context on each device of this node is expected to cost: a figure of its kind and
 * of the driver (contextcost.h), as the last reading of the driver found devices and driver.
 *
 * Before the first reading, and for a device that the last one does not have, it is
 * CONTEXTCOST_UNKNOWN_BYTES. A context that is measured changes what the next ones of its kind cost
 * from the same reading on.
 */

#include <stddef.h>
#include <stdint.h>

#include "arbiter/audit.h"
#include "arbiter/contextcost.h"
#include "arbiter/tenant.h"
#include "slice/inventory.h"

struct devicecost {
    char uuid[GPU_UUID_SIZE];
    uint64_t context_bytes;
};

/* All zero = nothing was read yet. */
struct devicecosts {
    struct contextcost learned;
    struct devicecost *items; /* one for each device of the last reading */
    size_t n;
};

/* A reading has ended, as what it showed is in the accounts: what it measured there of first
 * contexts is learned from, and forgotten. Without memory the costs of the reading before stay. */
void devicecosts_update(struct devicecosts *costs, const struct tenants *tenants,
                        const struct audit *audit, const struct inventory *machine);

/* Its account expects them of the next context on each of its devices. */
void devicecosts_apply(const struct devicecosts *costs, struct tenant *tenant);

void devicecosts_deinit(struct devicecosts *costs);
