// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Metrics of containers on devices: rows of a table, each with a sample of every container that it
 * applies to. */

#include <stdbool.h>
#include <stddef.h>

#include "arbiter/limiter.h"
#include "base/text.h"

struct usemetric {
    const char *name, *type, *help;
    bool (*applies)(const struct limiter_use *use);
    double (*value)(const struct limiter_use *use);
};

void usemetrics_add(const struct usemetric *rows, size_t n_rows, const struct limiter_use *uses,
                    size_t n_uses, struct text *out);
