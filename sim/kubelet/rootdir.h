// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The root directory, and whether a stand-in may have it.
 *
 * Starting in a folder removes the sockets of its device plugins, takes the kubelet's place and
 * replaces its checkpoint. On a node that would take the GPUs from everybody who uses them. So a
 * folder is accepted only where nobody serves, and if it is missing, empty, or of an earlier
 * stand-in. A plugin of gpuslice may be there first: it waits for a kubelet.
 */

#include "base/error.h"

/*
 * plugin_dir: where plugins register; NULL = device-plugins in root_dir. 0; -EADDRINUSE if a
 * kubelet or a stand-in serves there; -EBUSY if a folder is of a kubelet. Changes nothing.
 */
int rootdir_check(const char *root_dir, const char *plugin_dir, struct error *err);
