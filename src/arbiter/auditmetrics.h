// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * An audit as Prometheus' metrics. Labels name GPU, namespace, pod and container; of processes of
 * the node, and of those whose owner is not known, there are sums only: no pid, no name.
 */

#include "arbiter/violations.h"
#include "base/text.h"

struct auditmetrics {
    const struct audit *audit; /* the last one; NULL = there was none */
    const struct violations *violations;
    uint64_t n_audits, n_failed;
    bool is_expected; /* there is a driver to ask, or there was one */
    double age_s;     /* of the last one; without one, since the start */
    uint64_t n_killed, n_kills_failed;
};

void auditmetrics_add(const struct auditmetrics *metrics, struct text *out);
