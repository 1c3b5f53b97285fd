// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * CDI specs: what a container runtime adds to a container for
 * `k8s.device-plugin.nvidia.com/gpu=<id>`.
 *
 * The names are those of NVIDIA's plugin, and so is the split: device nodes per GPU; control nodes,
 * driver libraries, tools and the ld.so cache hook once for all. Driver libraries are found by the
 * driver's naming convention: the driver's version is the last suffix (libcuda.so.550.163.01). They
 * are searched under the container's view of the driver root and named as on the host.
 *
 * A GPU that works is in the spec, whether the configuration offers it or not: a pod keeps what it
 * holds when the configuration changes, and the runtime looks its name up at each restart of a
 * container.
 *
 * Each class of devices has its own file: `gpu`, `imex-channel` (by number), and `gdrcopy`, `gds`
 * and `mofed` (one device, `all`). Every name that Allocate may return is in one of them, since a
 * runtime does not start a container with an unknown device.
 */

#include "base/error.h"
#include "plugin/offer.h"

#define CDI_VENDOR "k8s.device-plugin.nvidia.com"

/* True if the configuration requires CDI: a `cdi-*` device list strategy. */
bool cdi_is_wanted(const struct config *config);

/* The name of a device in class `gpu`, by the device id strategy. False if it has none, because its
 * device nodes are unknown: the specs and Allocate's answer both name what this returns. */
bool cdi_name_device(const struct config *config, const struct device *device, unsigned gpu_index,
                     char ret_name[GPU_UUID_SIZE]);

/* Writes the specs into `folder`, which is created; readers see either the old or the new one. A
 * class without devices has no file. */
int cdi_write(const char *folder, const struct offer *offer, struct error *err);

/* Removes what cdi_write wrote; missing files are fine. */
void cdi_remove(const char *folder);
