// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The containers that there is something to show of, as far as limits are concerned: those that the
 * limiter keeps an account of, and those that hold a part of a device without a grant. These had it
 * from another device plugin, or before there was a log of grants, or the log was lost: they
 * have a limit, and nothing enforces it.
 */

#include <stdbool.h>
#include <stddef.h>

#include "arbiter/audit.h"
#include "arbiter/limituse.h"
#include "base/cleanup.h"

struct limituses {
    struct limituse *items; /* borrow from the limiter and the audit */
    size_t n, capacity;
    bool failed; /* there was no memory: some are missing */
};

#define LIMITUSES_INIT \
    {                  \
        .items = NULL  \
    }

void limituses_deinit(struct limituses *uses);
#define cleanup_limituses cleanup(limituses_deinit)

/* Of the limiter. */
void limituses_add(struct limituses *uses, const struct limituse *use);

/* What the audit has beyond those, once all of those are in. */
void limituses_add_ungranted(struct limituses *uses, const struct audit *audit);
