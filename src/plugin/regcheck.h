// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * When to doubt a registration: the kubelet said yes, and the Node shows nothing of the resource.
 *
 * It happens: a kubelet drops a plugin's endpoint because an older stream of the same resource
 * ended, and the plugin is not told. A new registration mends it. So does waiting, when the
 * kubelet's status is only late; hence 30 s at first, then twice as long each time up to 10 min,
 * until the Node agrees.
 *
 * Pure: no clock and no I/O. Time is milliseconds of any clock that does not run backwards.
 */

#include <stdbool.h>
#include <stdint.h>

enum { REGCHECK_FIRST_MS = 30000, REGCHECK_LAST_MS = 600000 };

struct regcheck {
    uint64_t since_ms; /* the Node has disagreed since; UINT64_MAX = it does not */
    uint64_t wait_ms;  /* so long is disagreement borne now */
};

#define REGCHECK_INIT                                         \
    {                                                         \
        .since_ms = UINT64_MAX, .wait_ms = REGCHECK_FIRST_MS, \
    }

/* One resource, as we know it and as the Node shows it. */
struct regcheck_view {
    bool known;                    /* the Node was read; without it there is no doubt */
    uint64_t registered_ms;        /* since when it is registered; 0 = it is not */
    uint64_t healthy;              /* devices announced as Healthy */
    int64_t capacity, allocatable; /* of the Node; 0 when it does not show the resource */
};

/* Looks at the resource now. True = register anew; the next wait is then twice as long. */
bool regcheck_update(struct regcheck *regcheck, const struct regcheck_view *view, uint64_t now_ms);

/* When to look again though nothing changes; UINT64_MAX = no need. */
uint64_t regcheck_due_ms(const struct regcheck *regcheck);
