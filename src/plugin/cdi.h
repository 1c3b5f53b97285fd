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
 *
 * Each class of devices has a file of its own: `gpu`, `imex-channel` (by number), and `gdrcopy`,
 * `gds` and `mofed` (one device, `all`). Every name that Allocate may answer is in one of them,
 * since a runtime refuses to start a container that names a device it does not know.
 */

#include "base/error.h"
#include "plugin/offer.h"

#define CDI_VENDOR "k8s.device-plugin.nvidia.com"

/* True when the configuration asks for CDI: a `cdi-*` device list strategy. */
bool cdi_is_wanted(const struct config *config);

/* Writes the specs into `folder`, which is created; readers see an old one or a new one. A class
 * without devices has no file. */
int cdi_write(const char *folder, const struct offer *offer, struct error *err);

/* Removes what cdi_write wrote; a missing file is fine. */
void cdi_remove(const char *folder);
