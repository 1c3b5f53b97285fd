// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Looks whether MPS control daemons come and go, while the configuration in force shares by MPS.
 * The daemons are somebody else's and announce themselves nowhere, so they are asked for now and
 * then; without MPS nothing wakes up.
 */

#include <uv.h>

#include "config/config.h"

enum { MPSWATCH_PERIOD_MS = 5000 };

struct mpswatch {
    uv_timer_t timer;
    uint64_t period_ms;
    struct config *config; /* borrowed; NULL = nothing to watch */
    void (*on_change)(void *userdata);
    void *userdata;
};

/* on_change: an entry of the configuration is served now, or no longer (policy.h). */
void mpswatch_init(struct mpswatch *watch, uv_loop_t *loop, uint64_t period_ms,
                   void (*on_change)(void *userdata), void *userdata);

/* From now on for this configuration, whose entries were refreshed a moment ago
 * (policy_refresh_mps). */
void mpswatch_follow(struct mpswatch *watch, struct config *config);

/* The handle closes in the next turns of the loop. */
void mpswatch_close(struct mpswatch *watch);
