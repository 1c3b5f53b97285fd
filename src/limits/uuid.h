// SPDX-License-Identifier: Apache-2.0
#pragma once

/* A device's UUID as NVML spells it, in the bytes of cuDeviceGetUuid. */

#include <stdbool.h>
#include <stdint.h>

#include "limits/page.h"

/* "GPU-a1b2..." or "MIG-...". False: it is none, as the form of drivers before R470 for MIG devices
 * ("MIG-GPU-.../1/0"), which has no bytes; ret_uuid is as before. */
bool limits_parse_uuid(const char *text, uint8_t ret_uuid[static LIMITS_UUID_SIZE]);
