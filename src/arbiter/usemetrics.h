// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Metrics of containers on devices: rows of a table, each with a sample of every container that it
 * applies to. */

#include <stdbool.h>
#include <stddef.h>

#include "arbiter/limituse.h"
#include "base/text.h"

struct usemetric {
    const char *name, *type, *help;
    bool (*applies)(const struct limituse *use);
    double (*value)(const struct limituse *use);
};

void usemetrics_add(const struct usemetric *rows, size_t n_rows, const struct limituse *uses,
                    size_t n_uses, struct text *out);
