// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * NodeOverlays (karpenter.sh/v1alpha1): what Karpenter is to believe of nodes that do not exist
 * yet.
 *
 * Of one profile there is an overlay for each set of types that promise the same. It applies to
 * NodePools whose template carries the profile's name and hash, and the sets are disjoint, so that
 * no two of ours ever meet on one instance type.
 *
 * Others may have overlays, too. Karpenter's rules for those that meet are repeated here (its
 * 1.14): by falling weight, then by falling name; a resource keeps the amount of the first that
 * sets it; of two with one weight that set one resource of one type, the later one is rejected as a
 * whole. Karpenter compares with the last one only, so that of three with one weight the first and
 * the third may clash unnoticed, and the third is ignored: that is an error here.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "karpenter/document.h"
#include "karpenter/promise.h"

/* Above what people choose by hand, and low enough that they can outweigh it on purpose. */
enum { OVERLAY_WEIGHT = 1000 };

/* Adds one document for each set of equal promises. 0 or -ENOMEM. */
int overlay_make(const struct sliceprofile *profile, const struct promises *promises,
                 struct documents *documents);

/* An overlay as the cluster has it. */
struct overlay {
    const char *name; /* borrowed, as is the rest */
    unsigned weight;
    const json_t *requirements, *capacity;
};

/* Reads one object. 0, or -EINVAL with a sentence about what is missing. */
int overlay_read(const json_t *object, struct overlay *ret_overlay, struct error *err);

/*
 * What Karpenter makes of all overlays for one NodePool and type, of which `labels` has all labels:
 * of the pool's template, of the type, and karpenter.sh/nodepool. *ret_amounts is an object of what
 * is applied, resource to amount; *ret_owners of whose it is, resource to overlay. Overlays that
 * clash are a problem that names both. 0 or -ENOMEM.
 */
int overlay_evaluate(const struct overlay *overlays, size_t n_overlays, const json_t *labels,
                     struct problems *problems, json_t **ret_amounts, json_t **ret_owners);
