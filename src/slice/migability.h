// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Whether MIG can partition a GPU, into what, and what to use where it cannot.
 *
 * NVIDIA's list is short, and guides in circulation add models to it: A10, A10G, V100, T4, L4 and
 * L40S cannot be partitioned, whatever the configuration says. The driver's answer counts, not the
 * model's name.
 */

#include "base/text.h"
#include "slice/inventory.h"

/* For sentences: those that a person finds most often. None without HBM but the last. */
#define MIGABILITY_MODELS "A30, A100, H100, H200, B200 and RTX PRO 6000 Blackwell GPUs"

enum migability { MIGABILITY_CAN, MIGABILITY_CANNOT, MIGABILITY_UNKNOWN };

enum migability migability_of(const struct gpu *gpu);

/* "can be partitioned by MIG, which is off: 1g.5gb (7), ...". gpu: of the inventory. */
void migability_describe(const struct inventory *inventory, const struct gpu *gpu,
                         struct text *text);

/* The guides' claim about that model, to be added to a sentence: "; guides that ..."; "" = they
 * make none. */
const char *migability_claim(const char *model);

/* "GPU 0 (NVIDIA A10G)", "GPUs 0-3 (NVIDIA A10G)": the GPUs from that position on of which the same
 * can be said. Returns the position after them. */
size_t migability_name_group(const struct inventory *inventory, size_t first, struct text *text);
