// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * `slices` of a SliceProfile: unequal slices of each GPU, as gpuslice.slices of the agent's
 * configuration has them.
 */

#include <jansson.h>
#include <stddef.h>

#include "base/problem.h"
#include "base/text.h"
#include "base/yaml.h"
#include "slice/policy.h"

enum { PROFILESLICES_MAX = 15 }; /* resources of a node, beside its whole GPUs */

struct profileslices {
    struct slice_size *items; /* in the order of the file */
    size_t n_items, capacity;
};

void profileslices_deinit(struct profileslices *slices);

/* Adds those of a list; whatever is wrong becomes a problem. 0 or -ENOMEM. */
int profileslices_read(struct problems *problems, const struct yaml *list,
                       struct profileslices *slices);

/* The list that reads back as these. NULL without memory. */
json_t *profileslices_json(const struct profileslices *slices);

/* The same as gpuslice.slices, in YAML. */
void profileslices_add_config(const struct profileslices *slices, struct text *text);
