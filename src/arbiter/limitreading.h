// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A reading of the driver in the accounts of this node's containers: from when the driver is about
 * to be asked until what it showed is charged (account.h).
 *
 * Whose a process is, its connection tells, and the cgroups of one that never connected. One that
 * ended in between is not charged again for what the driver showed before. A reading that was begun
 * and never arrives changes nothing: the next one begins instead.
 */

#include <stdbool.h>
#include <stdint.h>

#include "arbiter/audit.h"
#include "arbiter/endings.h"
#include "arbiter/tenant.h"

/* All zero = none was begun yet. */
struct limitreading {
    bool is_begun; /* and has not ended */
    struct endings endings;
};

/* The driver is about to be asked. */
void limitreading_begin(struct limitreading *reading, const struct tenants *tenants,
                        uint64_t now_ms);

/* A process of the tenant has ended. */
void limitreading_note_ended(struct limitreading *reading, const struct tenant *tenant,
                             uint32_t pid);

/* What the driver showed since. 0, or -ENOMEM: not every process is charged. */
int limitreading_end(struct limitreading *reading, const struct tenants *tenants,
                     const struct audit *audit);

void limitreading_deinit(struct limitreading *reading);
