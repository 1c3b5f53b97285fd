// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which containers reached their limit, or get no more memory for what their pods take beside their
 * slices (starver.h), as events for their pods: one when allocations were refused since the last
 * look, then at most one in LIMITEVENTS_QUIET_MS.
 *
 * While there is no agent to take them, one is kept for each container and device, with the number
 * of all that was refused meanwhile; also when the container ends, of LIMITEVENTS_GONE_MAX such.
 *
 * Pure: no clock. Time is in milliseconds of any monotonic clock.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arbiter/limituse.h"
#include "proc/arbitermessage.h"

#define LIMITEVENTS_REASON  "MemoryLimitReached"
#define LIMITEVENTS_STARVED "MemoryStarved"

enum {
    LIMITEVENTS_QUIET_MS = 60000,
    LIMITEVENTS_GONE_MAX = 256,
};

/* A container on a device, as it was at the last look. */
struct limitevents_item {
    uint64_t key;
    uint64_t n_denied; /* of the container, ever */
    uint64_t n_untold; /* of those, refused, and in no event that was taken */
    uint64_t quiet_until_ms;
    struct arbiter_event *kept; /* that nobody took; NULL = none */
    uint64_t n_kept;            /* refusals that it told of */
    bool is_there;              /* at this look */
};

struct limitevents {
    struct limitevents_item *items;
    size_t n_items, capacity;
    uint64_t n_dropped; /* events that were kept in vain, ever */
};

#define LIMITEVENTS_INIT \
    {                    \
        .items = NULL    \
    }

void limitevents_deinit(struct limitevents *events);

/* False: nobody takes it now. */
typedef bool limitevents_fn(const struct arbiter_event *event, void *userdata);

/* mode: with others than LIMITS_ENFORCED nothing was refused. 0 or -ENOMEM: then what is not
 * reported now is reported later. */
int limitevents_observe(struct limitevents *events, const struct limituse *uses, size_t n_uses,
                        enum limits_mode mode, uint64_t now_ms, limitevents_fn *fn, void *userdata);

/* Somebody takes events again. */
void limitevents_deliver(struct limitevents *events, limitevents_fn *fn, void *userdata);
