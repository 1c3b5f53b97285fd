// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Whether Karpenter will believe what a profile promises, with all NodeOverlays that there are: a
 * stranger's heavier one wins without a word, and of two with one weight one is rejected.
 */

#include <jansson.h>

#include "base/problem.h"
#include "karpenter/promise.h"

/*
 * Compares, for each type of the profile in the NodePool that has it, what Karpenter makes of the
 * overlays with the promise. A difference is an error that names the overlay. 0 or -ENOMEM.
 */
int overlaycheck_compare(const struct sliceprofile *profile, const struct promises *promises,
                         const json_t *objects, struct problems *problems);
