// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Where the directory of a grant is mounted in its container: "/opt/gpuslice/nvidia.com.gpu". The
 * kubelet merges the mounts of several resources by this path, so each has its own. */

#include <stddef.h>

/* 0, or -ENAMETOOLONG. */
int limits_directory(const char *resource, char *path, size_t size);
