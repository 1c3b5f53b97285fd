// SPDX-License-Identifier: Apache-2.0
#pragma once

/* `devices:` of a sharing entry: all, a count, or a list of indices and UUIDs. */

#include "config/schema.h"

/* Slot: struct device_selector. */
extern const struct kind kind_devices;

/* True when both are sure to reach one GPU in common on a machine that has GPUs enough. */
bool devices_overlap(const struct device_selector *a, const struct device_selector *b);
