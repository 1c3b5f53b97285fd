// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Cluster-autoscaler instead of Karpenter: it starts Auto Scaling groups, and learns from their
 * tags what a node has that does not exist yet. A resource of a tag replaces what EC2 says of the
 * type, or adds to it.
 */

#include "karpenter/document.h"
#include "karpenter/promise.h"

/* Adds a document for each set of types that promise the same: their names, and the tags. 0 or
 * -ENOMEM. */
int autoscaler_make(const struct sliceprofile *profile, const struct promises *promises,
                    struct documents *documents);
