// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A promise as text, for the annotation gpuslice.dev/promise of a NodePool's template:
 *
 *     nvidia.com/gpu=0,nvidia.com/gpu.shared=4 per GPU
 *
 * So the agent finds out by itself when its Node has what Karpenter expects. A change of the
 * template replaces nodes, and a profile that gains instance types must not: counts are those of
 * one GPU. Only where they differ between models of GPU, there is a group for each:
 *
 *     NVIDIA A100-SXM4-40GB: nvidia.com/mig-1g.10gb=4 per GPU; NVIDIA H100 80GB HBM3: ...
 *
 * Counts are in the form of slice/namedemand.h, groups by model.
 */

#include <stddef.h>

#include "base/error.h"
#include "base/text.h"
#include "karpenter/promise.h"
#include "slice/namedemand.h"

/* Adds the text. 0, or -ERANGE: GPUs of one model differ, which no text can tell. Without memory
 * the text fails. */
int promisetext_add(const struct promises *promises, struct text *text);

/*
 * What such a text promises of a node with so many GPUs of a model. 0; -ENOENT when it has no group
 * for the model; or -EINVAL. err: a whole sentence, on one line.
 */
int promisetext_read(const char *text, const char *model, size_t n_gpus,
                     struct namedemand *ret_counts, struct error *err);
