// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The labels nvidia.com/gpu.deploy.* of the Node, by which the GPU Operator deploys what keeps GPUs
 * open: DCGM and its exporter, NVSM. While those are in the way of another MIG layout the labels
 * get the value that NVIDIA's MIG manager gives them, and afterwards "true" again.
 *
 * Only "true" is changed, and only our value is changed back: a component that somebody switched
 * off ("false", no label) stays off, and one that is given any other value meanwhile keeps that.
 */

#include <jansson.h>
#include <stdbool.h>

enum deploylabels_outcome { DEPLOYLABELS_AS_WANTED = 1 };

/* 0 and the operations of a JSON patch, each with a test of what was seen; DEPLOYLABELS_AS_WANTED
 * (nothing to write); -ENOMEM. */
int deploylabels_plan(const json_t *node, bool pauses, json_t **ret_operations);
