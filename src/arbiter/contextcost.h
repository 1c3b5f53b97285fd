// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * How much memory the driver takes for a process's first context, before anything is allocated: a
 * figure of the GPU's model and the driver's branch. It is charged from before the context is
 * created until the driver shows what it really is.
 *
 * Known figures are measured (contextcost.c has the sources). Others are learned from the first
 * context that is seen on this node. That one's process could make it look larger, so that others
 * could create none: what is learned is never more than CONTEXTCOST_UNKNOWN_BYTES.
 */

#include <stddef.h>
#include <stdint.h>

enum { CONTEXTCOST_MODELS_MAX = 16 }; /* on one node */

#define CONTEXTCOST_UNKNOWN_BYTES (UINT64_C(512) << 20)
#define CONTEXTCOST_LEAST_BYTES   (UINT64_C(64) << 20) /* that is learned */

/* All zero = nothing was learned yet. */
struct contextcost {
    struct {
        char name[128]; /* of the kind of device */
        uint64_t bytes;
    } learned[CONTEXTCOST_MODELS_MAX];
    size_t n;
};

/* model: NVML's product name; profile: of a MIG device, or "". driver: its version, "580.95.05". */
uint64_t contextcost_get(const struct contextcost *cost, const char *model, const char *profile,
                         const char *driver);

/* A process's first context was measured. */
void contextcost_learn(struct contextcost *cost, const char *model, const char *profile,
                       uint64_t bytes);
