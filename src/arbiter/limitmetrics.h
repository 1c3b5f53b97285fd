// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Memory limits as Prometheus' metrics: of each container on each device, and of the node. What the
 * driver shows of the same containers is in auditmetrics.h, with the same labels.
 */

#include <stdbool.h>
#include <stddef.h>

#include "arbiter/limiter.h"
#include "base/text.h"

struct limitmetrics {
    const struct limituse *uses;
    size_t n_uses;
    struct limiter_counts counts;
    enum limits_mode mode;
    bool is_off, overcommits, has_library;
    uint64_t n_events_dropped;
};

void limitmetrics_add(const struct limitmetrics *metrics, struct text *out);
