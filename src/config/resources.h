// SPDX-License-Identifier: Apache-2.0
#pragma once

/* `resources:`, custom resource names for GPU models and MIG profiles. */

#include "config/schema.h"

/* Slot: struct policy. */
extern const struct kind kind_gpu_rules;
extern const struct kind kind_mig_rules;
