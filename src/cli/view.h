// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A plan for display: as a tree of stable shape for programs (documented in gpuslice(1)), as tables
 * for people.
 */

#include <jansson.h>
#include <stdio.h>

#include "cli/migpreview.h"
#include "cli/target.h"
#include "config/config.h"
#include "slice/plan.h"

/* Labels and taints are also those that the configuration itself sets. NULL without memory. */
json_t *view_tree(const struct plan *plan, const struct target *target, const struct config *config,
                  const struct migpreview *preview);

/* config NULL: without labels and taints. */
void view_tables(const struct plan *plan, const struct target *target, const struct config *config,
                 const struct migpreview *preview, FILE *out);
