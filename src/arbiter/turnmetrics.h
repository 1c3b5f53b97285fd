// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Turns as Prometheus' metrics: of each container on each device, of devices, and of the node. The
 * labels are those of limitmetrics.h. */

#include <stddef.h>

#include "arbiter/limituse.h"
#include "base/text.h"

struct turnmetrics {
    const struct limituse *uses;
    size_t n_uses;
    enum limits_compute compute;
};

void turnmetrics_add(const struct turnmetrics *metrics, struct text *out);
