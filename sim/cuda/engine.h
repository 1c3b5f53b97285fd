// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Time of a device. */

#include <stdint.h>

#include "cuda/cuda.h"

/* Keeps the device busy for so long, and returns then. Each stream with work has all of the device:
 * time slices between contexts and processes would be shared out here, and are not yet. */
void engine_spend(const struct cuda_device *device, uint64_t duration_ns);
