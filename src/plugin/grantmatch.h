// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Whether a MIG device is the one that was granted. Its UUID does not tell: that belongs to a place
 * on the GPU, so the next device in it, of whatever profile, has the same.
 */

#include <stdbool.h>

#include "grant/grant.h"
#include "slice/device.h"

/*
 * True if what was granted under this MIG device's UUID had another profile. The grant has it, if
 * this release or a later one gave it; else the name of the resource tells, where that is a
 * profile's, and the memory of an unshared device. Then profiles of one size, under a resource
 * of another name, cannot be told apart.
 */
bool grantmatch_is_other(const struct grant *grant, const struct device *device);
