// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * CDI specs: what a container runtime adds to a container for
 * `k8s.device-plugin.nvidia.com/gpu=<id>`.
 *
 * The names are those of NVIDIA's plugin, and so is the split: device nodes per GPU; control nodes,
 * driver libraries, tools and the ld.so cache hook once for all. Driver libraries are found by the
 * driver's own habit: each carries the driver's version as its last suffix (libcuda.so.550.163.01).
 * They are looked for under the container's view of the driver root and named as the host has them.
 */

#include "base/error.h"
#include "node/offer.h"

#define CDI_VENDOR "k8s.device-plugin.nvidia.com"

/* True when the configuration asks for CDI: a `cdi-*` device list strategy. */
bool cdi_is_wanted(const struct config *config);

/* The spec of class `gpu` as JSON text, to be freed; NULL for want of memory. */
char *cdi_format(const struct offer *offer);

/* Writes the spec into `folder`, which is created; readers see the old one or the new one. */
int cdi_write(const char *folder, const struct offer *offer, struct error *err);

/* Removes what cdi_write wrote; a missing file is fine. */
void cdi_remove(const char *folder);
