// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * `sharing:`, time slicing and MPS, into policy.sharing: time slicing first, then MPS, each in file
 * order. Overlaps that are visible without knowing the machine are reported here; the plan reports
 * the rest.
 */

#include "config/schema.h"

/* Slot: struct policy. */
extern const struct kind kind_sharing;

/* Removes the entries with errors (they have no replicas) from what is left of a refused file. */
void sharing_drop_refused(struct policy *policy);
