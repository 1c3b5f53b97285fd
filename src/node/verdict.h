// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Does this node offer what its configuration asks for, and if not, why: the most severe reason.
 *
 * The only judge of that. The Node's condition GPUSlicesReady (nodestate.h), /readyz, the probe
 * --part=probe-ready and the metric gpuslice_ready (status.h) all publish this verdict, so they
 * agree by construction; events use the same reasons.
 */

#include <stdbool.h>

#include "base/text.h"
#include "node/facts.h"

#define VERDICT_DRIVER      "DriverNotAvailable"
#define VERDICT_GRANTS      "GrantsNotWritable"
#define VERDICT_LIMITS      "MemoryLimitsNotEnforced"
#define VERDICT_REFUSED     "ConfigurationRefused"
#define VERDICT_MPS         "MPSDaemonNotAnswering"
#define VERDICT_SHORT       "OfferIncomplete"
#define VERDICT_MIG_PENDING "MIGLayoutPending"
#define VERDICT_MIG_FAILED  "MIGLayoutFailed"

enum verdict_state {
    VERDICT_STARTING, /* nothing definite is known: the Node keeps its previous condition */
    VERDICT_NO_GPU,   /* there is nothing to offer: ready, and without a condition */
    VERDICT_NOT_OURS, /* its GPUs are nobody's to slice here: ready, and without labels */
    VERDICT_SETTLING, /* not ready, but resources are just being registered */
    VERDICT_NOT_READY,
    VERDICT_READY,
};

struct verdict {
    enum verdict_state state;
    const char *reason; /* CamelCase, static */
    char message[2048];
};

/* nodeconfig must be set in the facts, unless there is an offer. */
void verdict_make(const struct facts *facts, struct verdict *ret_verdict);

bool verdict_is_ready(const struct verdict *verdict);

/* A line for each thing that is missing; nothing when it is ready. */
void verdict_explain(const struct verdict *verdict, const struct facts *facts, struct text *out);
