// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The gates (gate.h) of all Nodes of slice profiles, in the order of the Nodes' names. */

#include <stdbool.h>
#include <stddef.h>

#include "controller/gate.h"

struct gateset_item {
    struct gate *gate;
    bool is_settled; /* nothing follows as long as its Node and its kind stay as they are */
};

struct gateset {
    struct gateset_item *items;
    size_t n_items, capacity;
};

void gateset_deinit(struct gateset *set);

/* NULL = the Node has none. Borrowed until one is added or dropped. */
struct gateset_item *gateset_find(const struct gateset *set, const char *node);

/* Takes the gate of a Node that has none yet, also on failure. It is not settled. 0 or -ENOMEM. */
int gateset_add(struct gateset *set, struct gate *gate);

/* Frees the gate of a Node, if it has one. */
void gateset_drop(struct gateset *set, const char *node);
