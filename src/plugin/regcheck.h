// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A watchdog for registrations that the kubelet accepted although the Node does not show the
 * resource.
 *
 * This happens: a kubelet drops a plugin's endpoint because an older stream of the same resource
 * ended, without notifying the plugin. A new registration repairs it. So does waiting, if the
 * kubelet's status is only late; hence 30 s at first, doubling up to 10 min, until the Node agrees.
 *
 * Pure: no clock and no I/O. Time is in milliseconds of any monotonic clock.
 */

#include <stdbool.h>
#include <stdint.h>

enum { REGCHECK_FIRST_MS = 30000, REGCHECK_LAST_MS = 600000 };

struct regcheck {
    uint64_t since_ms; /* the Node has disagreed since then; UINT64_MAX = it does not */
    uint64_t wait_ms;  /* how long disagreement is tolerated */
};

#define REGCHECK_INIT                                         \
    {                                                         \
        .since_ms = UINT64_MAX, .wait_ms = REGCHECK_FIRST_MS, \
    }

/* One resource, as we see it and as the Node shows it. */
struct regcheck_view {
    bool known;                    /* the Node was read; otherwise nothing is checked */
    uint64_t registered_ms;        /* when it was registered; 0 = it is not */
    uint64_t healthy;              /* devices announced as Healthy */
    int64_t capacity, allocatable; /* of the Node; 0 if it does not show the resource */
};

/* Checks the resource now. True = register again; the next delay is then twice as long. */
bool regcheck_update(struct regcheck *regcheck, const struct regcheck_view *view, uint64_t now_ms);

/* When to check again even if nothing changes; UINT64_MAX = no need. */
uint64_t regcheck_due_ms(const struct regcheck *regcheck);
