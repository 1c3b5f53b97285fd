// SPDX-License-Identifier: Apache-2.0
#pragma once

/* How many Nodes of each profile and NodePool are in which state, for the metrics. */

#include <stddef.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "controller/nodegate.h"

struct nodetally {
    struct nodetally_row {
        const char *profile, *pool; /* borrowed from the first view */
        unsigned n[NODEGATE_STATES];
    } * rows;
    size_t n_rows, capacity;
};

void nodetally_deinit(struct nodetally *tally);
#define cleanup_nodetally cleanup(nodetally_deinit)

/* The view has to outlive the tally. Without memory a Node of a new row is left out. */
void nodetally_add(struct nodetally *tally, const struct nodeview *view, enum nodegate_state state);

/* Samples of a metric, one for each row and state. */
void nodetally_write(const struct nodetally *tally, const char *metric, struct text *out);
