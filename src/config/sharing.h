// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * `sharing:`, time slicing and MPS, into policy.sharing: time slicing first, then MPS, each in the
 * order of the file. Overlaps that can be seen without knowing the machine are said here; the rest
 * is the plan's to say.
 */

#include "config/schema.h"

/* Slot: struct policy. */
extern const struct kind kind_sharing;
