// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A plan for display: as a tree of stable shape for programs (documented in gpuslice(1)), as tables
 * for people.
 */

#include <jansson.h>
#include <stdio.h>

#include "cli/target.h"
#include "slice/plan.h"

/* NULL without memory. */
json_t *view_tree(const struct plan *plan);

void view_tables(const struct plan *plan, const struct target *target, bool with_labels, FILE *out);
