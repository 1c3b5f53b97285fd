// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What the agent says about itself: the answers behind /healthz, /readyz and /metrics. */

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"
#include "node/agent.h"

/* A httplink_answer_fn; userdata is the agent. */
unsigned status_answer(char question, struct text *body, void *userdata);

/* True when somebody else serves one of our resources; the sentence names one of them. */
bool status_foreign_plugin(const struct agent *agent, char *message, size_t size);

/* True when every resource of the plan is registered; else a line per reason is added to why. */
bool status_ready(const struct agent *agent, struct text *why);
