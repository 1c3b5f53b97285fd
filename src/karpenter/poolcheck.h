// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Whether a NodePool that somebody else wrote fits the profile that names it: without the profile's
 * labels in its template no NodeOverlay applies, without its annotations the agents know nothing of
 * it, and types that the profile does not have are started with whole GPUs, or not at all.
 */

#include <jansson.h>

#include "base/problem.h"
#include "karpenter/promise.h"

/*
 * Looks at the pool that the profile names among `pools` (objects); that it is not there is a note
 * with what it needs. `only_types`: the promises are only some of the profile's, so that
 * what else the pool starts is not compared.
 */
void poolcheck_compare(const struct sliceprofile *profile, const struct promises *promises,
                       bool only_types, const struct catalog *catalog, const json_t *pools,
                       struct problems *problems);
