// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Asks the agent that partitions this node for a layout (gpu/migrequest.h), and waits until it is
 * in force. News go to standard error. */

#include "base/error.h"
#include "cli/migchoice.h"

enum migask_outcome {
    MIGASK_NOBODY = 1, /* no agent can be asked; err has the reason */
};

/* 0, MIGASK_NOBODY, or a negative errno with the agent's sentence. */
int migask(const char *state_dir, const struct migchoice *choice, bool mode_only,
           struct error *err);
