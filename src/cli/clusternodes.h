// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The nodes of a cluster in groups, counted while they are read: `groups` of clusterfacts.h. What a
 * Node does not tell is "", never a guess; the cgroup version is that of the image, where the image
 * has only one.
 */

#include <jansson.h>

#include "catalog/catalog.h"

struct clusternodes {
    json_t *groups;        /* "kind/name" -> group; owned */
    json_t *rivals;        /* DaemonSets, each {what, role, workload}; owned */
    json_t *doubly_served; /* nodes of which a DRA driver has GPUs: name -> true; owned */
    size_t n_without_gpu;
    const struct catalog *catalog; /* borrowed */
};

void clusternodes_init(struct clusternodes *nodes, const struct catalog *catalog);
void clusternodes_deinit(struct clusternodes *nodes);

/* DaemonSets and DRA devices first, then the Nodes. */
void clusternodes_add_rival(struct clusternodes *nodes, const char *what, const char *role,
                            const json_t *workload);
void clusternodes_add_drawn(struct clusternodes *nodes, const char *node);
void clusternodes_add(struct clusternodes *nodes, const json_t *object);

/* The groups as a list; owned. */
json_t *clusternodes_list(const struct clusternodes *nodes);

/* counts[value]++, for a tally of values. */
void clusternodes_count(json_t *counts, const char *value);
