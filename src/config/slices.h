// SPDX-License-Identifier: Apache-2.0
#pragma once

/* `gpuslice.slices:`, slices of unequal size; their shares of a GPU add up to at most 100 %. */

#include "config/schema.h"

/* Slot: struct policy. */
extern const struct kind kind_slices;
