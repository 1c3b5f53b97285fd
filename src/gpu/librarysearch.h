// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which libnvidia-ml.so.1 is loaded: that of the driver root, where a driver's container or a
 * folder of the host has it, then the one on the loader's path, which a container runtime or a
 * package puts there. NVIDIA's plugin has the same order.
 */

#include "base/driverroot.h"
#include "gpu/gpu.h"

/*
 * Opens the driver; outcomes as of gpu_backend.open. The folders are looked at each time, since a
 * driver may be installed while we wait for it. A library of the driver root that cannot be loaded
 * gives way to the loader's. root NULL: the loader's only.
 */
int librarysearch_open(const struct gpu_backend *backend, const struct driverroot *root,
                       struct gpu_driver **ret_driver, struct error *err);
