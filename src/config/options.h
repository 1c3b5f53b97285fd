// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Every option of NVIDIA's v1 schema, of NVIDIA's programs and of gpuslice: the one table. */

#include "config/schema.h"

extern const struct schema config_schema;
