// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The configuration that is in force: a good one is taken, a bad one is refused and the one before
 * stays. Both are said: in the log, as an event, and (agent->refusal) by the Node's condition.
 *
 * At the first start there is none before. Then what the agent before us took stands in, or what
 * the node would take without its label, so that it has slices; and where nothing can be used, no
 * agent runs.
 */

#include "node/agent.h"

/* 0, also while there is nothing to take yet. -EINVAL: nothing can be used, and that was said. */
int reload_first(struct agent *agent);

/* Another configuration is meant, or its content changed. May stop the agent. */
void reload_now(struct agent *agent);
