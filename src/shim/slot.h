// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One device of which this process has a slice: what of its memory the process has taken, and what
 * it may still take while nobody answers.
 *
 * At the arbiter more is reserved than is allocated: the credit, out of which small amounts come
 * without a message.
 *
 * While no page shows what this process has, an allowance stands for what is free. What is taken
 * goes out of it and what is given comes back; what the driver took when nothing was left is paid
 * back first. When an arbiter goes, the allowance becomes the process's part of what was free by
 * its page. One that has answered nothing since its welcome may not have counted yet what this
 * process has: it shows that as free. By such a page the allowance may become less and never more,
 * or each connection to a slow arbiter would give the whole limit again.
 *
 * Numbers alone: no lock, no message, no clock.
 */

#include <stdbool.h>
#include <stdint.h>

#include "limits/page.h"

struct slot {
    uint8_t uuid[LIMITS_UUID_SIZE];
    int position; /* in the page; -1: it has none. Read without a lock, too */
    uint64_t limit_bytes;
    uint64_t allocated_bytes; /* by the driver, or about to be */
    uint64_t credit_bytes;    /* reserved beyond those */
    uint64_t unsent_bytes;    /* released, and not told yet */
    uint64_t allowance_bytes; /* that may be taken while the arbiter is away */
    uint64_t beyond_bytes;    /* that the driver took then, and no allowance was left for */
    uint64_t hidden_bytes;    /* that it may have taken beyond all that, until a reading */
    uint32_t hidden_since;    /* the last reading before */
};

/* An arbiter has the device at this position of its page; -1: it knows nothing of it. */
void slot_attach(struct slot *slot, int position, uint64_t limit_bytes);

/* It is gone. part_bytes: this process's part of what was free by its page; has_answered: anything,
 * since its welcome. */
void slot_detach(struct slot *slot, uint64_t part_bytes, bool has_answered);

/* --- while no page shows what is taken --- */

/* More than the allowance as well: the driver has taken it. */
void slot_spend(struct slot *slot, uint64_t bytes);
void slot_earn(struct slot *slot, uint64_t bytes);
