// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which pods a MIG layout waits for, as the Node's annotation gpuslice.dev/mig-waits tells it to
 * gpuslice-controller (src/controller/migwaits.h reads it):
 *
 *     {"layout":"all-1g.5gb (label nvidia.com/mig.config)","gpus":[{"index":0,"uuid":"GPU-...",
 *      "pods":[{"namespace":"default","name":"train","uid":"..."}]}]}
 *
 * Only pods that the kubelet names are in it. A uid that is not known yet is "".
 */

#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "node/gpuholders.h"
#include "slice/inventory.h"

/* The part of one GPU; places: those of the holders that are waited for. To be freed; NULL = none
 * of them is a pod, or without memory. */
char *migwaits_of_gpu(const struct gpu *gpu, const struct gpuholders *holders,
                      const uint32_t *places, size_t n);

/* All of it from those parts, or nothing if there are none. */
void migwaits_add(const char *layout, char *const *parts, size_t n, struct text *out);
