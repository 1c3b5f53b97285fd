// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Nodes for slices where Karpenter has no NodeOverlays (before 1.9, or with its gate off): it
 * starts no node for pods whose resource it does not know. Placeholders are pods that request next
 * to nothing and may not share a node, so that Karpenter starts one node for each; the slices of
 * these nodes are then simply there.
 *
 * A placeholder requests no GPU: a node that renames its GPUs would never be initialized. It
 * chooses its node by the profile's label and the type. It takes one of the node's addresses for
 * pods.
 */

#include <stddef.h>
#include <stdint.h>

#include "karpenter/document.h"
#include "karpenter/promise.h"

/*
 * Adds a Deployment for each type of the cheapest nodes that have n_slices slices or more, and
 * their PriorityClass. hourly[promises->n_items]: a price in any unit, 0 = not known; a type
 * without one is taken only where none has one, by its GPUs. 0; -EINVAL or -ERANGE with a sentence
 * about the profile; or -ENOMEM.
 */
int placeholder_make(const struct sliceprofile *profile, const struct promises *promises,
                     const uint64_t *hourly, size_t n_slices, struct documents *documents,
                     struct error *err);
