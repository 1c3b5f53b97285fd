// SPDX-License-Identifier: Apache-2.0
#pragma once

/* `gpuslice.labels:` and `gpuslice.taints:`: what the node carries besides our built-in labels. */

#include "config/schema.h"

/* Slot: struct config. */
extern const struct kind kind_labels;
extern const struct kind kind_taints;

void extra_labels_free(struct extra_label *labels, size_t n_labels);
void extra_taints_free(struct extra_taint *taints, size_t n_taints);
