// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What `gpuslice top` and `gpuslice enforcement` show, as one JSON document: the node, its devices,
 * and the containers on each. gpuslice(1) describes it; members are added, none is renamed.
 *
 * Of each device reserved + the containers' used + not ours + idle is its memory, as far as the
 * driver tells what is free; else idle is what is left.
 */

#include <stdbool.h>
#include <stddef.h>

#include "arbiter/limituse.h"
#include "base/text.h"

struct statusdocument {
    const char *version;
    bool has_limits; /* else it is an audit alone */
    enum limits_mode mode, wished;
    enum limits_compute compute, wished_compute;
    bool is_off, overcommits;
    const char *library, *trouble; /* "" = none */
    const char *unverified;        /* where limits never were, verified.h; "" = nowhere */
    const char *no_driver;         /* why nothing is known; "" = it is */
    const struct audit *audit;     /* NULL = none was made */
    double age_s;                  /* of the audit */
    const struct limituse *uses;
    size_t n_uses;
};

/* Without memory the text has failed. */
void statusdocument_add(const struct statusdocument *status, struct text *out);
