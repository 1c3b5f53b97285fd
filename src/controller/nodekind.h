// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Nodes that were made alike: of one NodePool, one instance type and one state of a profile. All of
 * them were promised the same, and Karpenter believes the same of all of them.
 *
 * What was promised is looked for where it is most certain: in the profile, if the nodes are of its
 * present state; in the NodeOverlays that were made for the state they are of; in the annotation
 * that the pool's template had. A profile that changed says nothing about nodes of before: they are
 * compared with what they were started for, until Karpenter has replaced them.
 *
 * Pure.
 */

#include <jansson.h>
#include <stdbool.h>

#include "catalog/catalog.h"
#include "controller/amounts.h"
#include "controller/nodeview.h"
#include "karpenter/overlay.h"
#include "karpenter/sliceprofile.h"

struct nodekind {
    char *pool, *profile, *hash, *type, *annotation; /* "" = none */
    json_t *labels; /* of the first of them that was seen: what overlays select by */
    bool is_stale;  /* the numbers below are to be computed (again) */

    bool has_profile; /* there is one of that name */

    bool is_promised; /* else `unknown` is the end of the sentence "what it was promised is not
                         known: " */
    bool is_current;  /* ... by the profile as it is */
    struct amounts promised;
    char unknown[256];

    bool is_believed; /* Karpenter is there, and these are nodes of its */
    struct amounts believed;
    char owner[254]; /* of the NodeOverlay by which it believes otherwise; "" = there is none */
};

struct nodekind *nodekind_new(const struct nodeview *view, const json_t *labels);

/* NULL is allowed. */
void nodekind_free(struct nodekind *kind);

bool nodekind_has(const struct nodekind *kind, const struct nodeview *view);

/* The world that the numbers follow from. */
struct nodekind_world {
    const struct catalog *catalog;
    const struct sliceprofile *profile; /* NULL = there is none of that name */
    const struct overlay *overlays;     /* NULL = Karpenter's overlays are not known */
    size_t n_overlays;
};

/* Computes the numbers (again). 0 or -ENOMEM. */
int nodekind_compute(struct nodekind *kind, const struct nodekind_world *world);
