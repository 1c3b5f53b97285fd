// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The kinds (nodekind.h) of all Nodes of slice profiles: each Node has one. What changes makes
 * those kinds stale whose numbers follow from it, and only they are computed again.
 *
 * Kinds come with each state of a profile, and nobody says when the last Node of one has gone:
 * those without a Node are looked for when there are many. Pure.
 */

#include "controller/nodekind.h"

enum { NODEKINDS_KEPT = 64 }; /* beyond that those without a Node are looked for */

struct nodekinds {
    struct nodekind **items;
    size_t n_items, capacity;
    size_t collect_at; /* so many */
};

void nodekinds_init(struct nodekinds *kinds);
void nodekinds_deinit(struct nodekinds *kinds);

/* Of a Node; NULL = there is none yet. */
const struct nodekind *nodekinds_find(const struct nodekinds *kinds, const struct nodeview *view);

/* Adds the kind of a Node if it is new, which is stale then. 0 or -ENOMEM. */
int nodekinds_ensure(struct nodekinds *kinds, const struct nodeview *view, const json_t *labels);

/* The profile of this name has changed, or something that all of them share (NULL). */
void nodekinds_touch(struct nodekinds *kinds, const char *profile);

bool nodekinds_are_stale(const struct nodekinds *kinds);

/* If there are many: frees those that is_used does not say yes to. */
void nodekinds_collect(struct nodekinds *kinds,
                       bool (*is_used)(const struct nodekind *kind, const void *userdata),
                       const void *userdata);
