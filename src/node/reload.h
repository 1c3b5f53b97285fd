// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The configuration that is in force: a good one is taken, a bad one is refused and the one before
 * stays. Both are reported: in the log, as an event, and (facts.refusal) by the Node's condition.
 *
 * At the first start there is none before. Then what the agent before us took stands in, or what
 * the node would take without its label, so that it has slices; and where nothing can be used, no
 * agent runs.
 */

#include "config/overrides.h"
#include "node/facts.h"

/* All borrowed. */
struct reload {
    struct facts *facts;
    struct nodeconfig *nodeconfig;
    const struct config_overrides *overrides;
    /* Takes over a configuration that is to be in force. */
    void (*apply)(struct config *config, void *userdata);
    void (*event)(bool warning, const char *reason, const char *message, void *userdata);
    void *userdata;
};

/* 0, also while there is nothing to take yet. -EINVAL: nothing can be used, and that was logged. */
int reload_first(const struct reload *reload);

/* Another configuration is selected, or its content changed. As reload_first while none was in
 * force yet; else 0. */
int reload_now(const struct reload *reload);
