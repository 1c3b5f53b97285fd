// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Whether turns share the time of a GPU as they should (doc/design/0028-turns.md): three tenants
 * with kernels of a known time at an arbiter of its own, and the same three without it. */

#include <stdint.h>

#include "cli/verdicts.h"

/* limit_bytes: of each tenant's memory. CUDA_VISIBLE_DEVICES is that GPU alone. About half a
 * minute. */
void computecheck_run(const char *gpu_uuid, uint64_t limit_bytes, struct verdicts *verdicts);
