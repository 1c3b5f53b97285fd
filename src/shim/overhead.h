// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the driver takes by itself, for contexts and modules: no call says how much.
 *
 * A context is reserved ahead, by the arbiter's figure. A module is charged when it is there, by
 * what its image tells, which is about right. If that may be beyond the limit, the arbiter denies
 * it and names the reading of the driver that will tell: the process waits for it, and then the
 * page shows what is true.
 *
 * What a module may have taken beyond that is hidden: it is not charged. Until a reading has shown
 * it, one is waited for where it and what is to be taken may be beyond the limit. Suspicion alone
 * may cost a second, and a tenth of the time since there was any.
 *
 * Nothing here waits for a reading: session.c does, and leaves its lock meanwhile, so that other
 * threads go on. As uplink.h otherwise: behind uplink_is_on, with that lock.
 */

#include <stdbool.h>
#include <stdint.h>

#include "shim/uplink.h"

struct overhead {
    struct uplink *uplink;
    uint64_t first_hidden_ms; /* since when anything was hidden; 0: never */
    uint64_t waited_ms;       /* that readings were waited for because of that */
};

/* A question that was denied, and the reading that tells. */
struct overhead_pending {
    uint64_t bytes;          /* that may be hidden */
    uint64_t overhead_bytes; /* before it was asked */
    uint64_t reading;        /* 0: there is nothing to wait for */
};

/* --- contexts --- */

/* Before one is created. False: it would be beyond the limit. */
bool overhead_enter(struct overhead *overhead, struct slot *slot);
void overhead_entered(struct overhead *overhead, struct slot *slot);
void overhead_left(struct overhead *overhead, struct slot *slot);

/* --- modules --- */

/* What all containers gave back on the device, ever, as the arbiter has just told; 0 = not known.
 */
uint64_t overhead_returned(struct overhead *overhead, struct slot *slot);

/* The driver took about so much, and up to hidden_bytes more. False: it may be beyond the limit, or
 * is, if there is no reading that tells. */
bool overhead_grew(struct overhead *overhead, struct slot *slot, uint64_t bytes,
                   uint64_t hidden_bytes, struct overhead_pending *ret_pending);

/* Before so much is taken: asks for what is hidden, if that matters. */
void overhead_ask_hidden(struct overhead *overhead, struct slot *slot, uint64_t bytes,
                         struct overhead_pending *ret_pending);

/* Is the reading over, or nobody there to take it? Then *ret_over says whether what the driver has
 * is beyond the limit. */
bool overhead_is_read(const struct overhead *overhead, const struct slot *slot,
                      const struct overhead_pending *pending, bool *ret_over);

/* It was waited for so long; *bytes, of those that were asked for, is what it has shown. */
void overhead_learn(struct overhead *overhead, struct slot *slot,
                    const struct overhead_pending *pending, uint64_t waited_ms, uint64_t *bytes);

/* The driver gave as much back. */
void overhead_shrank(struct overhead *overhead, struct slot *slot, uint64_t bytes);
