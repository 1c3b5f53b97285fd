// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * How many NodeClaims there are, by NodePool, profile and hash: all that the plans of profiles need
 * of thousands of nodes.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* One NodeClaim: the values of its labels, "" = it has none. */
struct fleet_node {
    char *pool, *profile, *hash;
};

struct fleet_node *fleet_node_new(const json_t *object); /* NULL without memory */
bool fleet_node_is_equal(const struct fleet_node *a, const struct fleet_node *b);
void fleet_node_free(struct fleet_node *node); /* NULL is allowed */

struct fleet_count {
    struct fleet_node of;
    size_t n;
};

struct fleet {
    struct fleet_count *counts; /* none is 0 */
    size_t n_counts, capacity;
    bool failed; /* a node was not counted without memory: do not rely on a count of 0 */
};

void fleet_add(struct fleet *fleet, const struct fleet_node *node);
void fleet_remove(struct fleet *fleet, const struct fleet_node *node);

/* Of all that have these; NULL = any. */
size_t fleet_count(const struct fleet *fleet, const char *pool, const char *profile,
                   const char *hash);

void fleet_deinit(struct fleet *fleet);
