// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Audits this node once a second: asks the driver's helper who uses the GPUs, has a thread of
 * libuv's pool read the node's files, since those may hang with a disk, and reports what begins and
 * what ends.
 *
 * What was reported is noted in a file, so that an auditor that follows does not report it again.
 * While GPUs are being partitioned by our agent it lets go of the driver: a GPU that somebody has
 * open cannot be reset.
 */

#include <uv.h>

#include "arbiter/arbiteroptions.h"
#include "arbiter/limiter.h"
#include "base/text.h"

struct auditor;

/* Options are borrowed, and so is the limiter, which gets each audit; NULL = none. */
int auditor_new(uv_loop_t *loop, const struct arbiteroptions *options, struct limiter *limiter,
                struct auditor **ret_auditor, struct error *err);

/* Its handles close in later turns of the loop. NULL is allowed. */
void auditor_free(struct auditor *auditor);

/* What is known now. Borrowed until the next turn of the loop. */
struct auditor_view {
    const struct audit *audit;       /* NULL = there was none */
    double age_s;                    /* of it; without one, since the start */
    const char *no_driver;           /* why there is none; "" = there is one */
    const struct inventory *machine; /* empty = unknown */
};

struct auditor_view auditor_view(const struct auditor *auditor);

void auditor_add_metrics(const struct auditor *auditor, struct text *out);

/* Adds a sentence; true: audits are made, or there is no driver whose GPUs could be used. */
bool auditor_add_readiness(const struct auditor *auditor, struct text *out);
