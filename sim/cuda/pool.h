// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Memory pools: what is freed stays reserved up to a threshold, and is given back when somebody
 * synchronises. */

#include "cuda/cuda.h"

/* Somebody synchronised: every pool of a device releases what is above its threshold. */
void pool_synchronised(const struct cuda_device *device);
