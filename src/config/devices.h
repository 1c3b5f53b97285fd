// SPDX-License-Identifier: Apache-2.0
#pragma once

/* `devices:` of a sharing entry: all, a count, or a list of indices and UUIDs. */

#include "config/schema.h"

/* Slot: struct device_selector. */
extern const struct kind kind_devices;

/* gpuslice.excludeDevices: such a list, where a GPU may also be named by its PCI address. Slot:
 * struct policy. */
extern const struct kind kind_excluded;
