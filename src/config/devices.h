// SPDX-License-Identifier: Apache-2.0
#pragma once

/* `devices:` of a sharing entry: all, a count, or a list of indices and UUIDs. */

#include "config/schema.h"

/* Slot: struct device_selector. */
extern const struct kind kind_devices;
