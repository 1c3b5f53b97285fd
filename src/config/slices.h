// SPDX-License-Identifier: Apache-2.0
#pragma once

/* `gpuslice.slices:`, slices of unequal size; their shares of one GPU add up to 100 % or less. */

#include "config/schema.h"

/* Slot: struct policy. */
extern const struct kind kind_slices;
