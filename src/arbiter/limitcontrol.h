// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Memory limits as the node's owners see them: the mode that holds, the library, the agent's and
 * the command line's socket, events, metrics. What becomes of a container is the limiter's.
 *
 * It is there without a limiter too: an arbiter that only audits answers `gpuslice top`.
 */

#include <uv.h>

#include "arbiter/arbiteroptions.h"
#include "arbiter/auditor.h"
#include "arbiter/limiter.h"
#include "base/text.h"

struct limitcontrol;

/* Options are borrowed. limiter: borrowed; NULL = nothing is limited. auditor: borrowed. */
int limitcontrol_new(uv_loop_t *loop, const struct arbiteroptions *options, struct limiter *limiter,
                     const struct auditor *auditor, struct limitcontrol **ret_control,
                     struct error *err);

/* Before limiter and auditor. Its handles close in later turns of the loop. NULL is allowed. */
void limitcontrol_free(struct limitcontrol *control);

void limitcontrol_add_metrics(const struct limitcontrol *control, struct text *out);
