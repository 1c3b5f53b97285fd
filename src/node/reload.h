// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The configuration that is in force: a valid one is applied, an invalid one is rejected and the
 * previous one stays. Both are reported: in the log, as an event, and (facts.refusal) by the Node's
 * condition.
 *
 * At the first start there is no previous one. Then the previous agent's last configuration is the
 * fallback, or the one for a node without the label, so that there are slices; a change of it is
 * applied until the selected one is usable. If nothing is usable, nothing is offered until
 * something is: a rejected configuration never ends the agent.
 */

#include "config/overrides.h"
#include "node/facts.h"

/* All borrowed. */
struct reload {
    struct facts *facts;
    struct nodeconfig *nodeconfig;
    const struct config_overrides *overrides;
    /* Takes ownership of a configuration to put in force. */
    void (*apply)(struct config *config, void *userdata);
    void (*event)(bool warning, const char *reason, const char *message, void *userdata);
    void *userdata;
    bool is_refusal_due; /* the event of facts.refusal waits for reload_report_refusal */
};

/* At the start, and when another configuration is selected or its content changed. While there is
 * nothing to use yet (nodeconfig_is_waiting), nothing happens. */
void reload_now(struct reload *reload);

/* It is known whether this node has a GPU. Without one it reports nothing, so the event of a
 * configuration that was rejected before waits for this. */
void reload_report_refusal(struct reload *reload);
