// SPDX-License-Identifier: Apache-2.0
#include "controller/gateset.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"

void gateset_deinit(struct gateset *set)
{
    for (size_t i = 0; i < set->n_items; i++)
        gate_free(set->items[i].gate);
    free(set->items);
    *set = (struct gateset){.items = NULL};
}

/* The place of the first gate whose Node does not come before. */
static size_t place_of(const struct gateset *set, const char *node)
{
    size_t from = 0, to = set->n_items;

    while (from < to) {
        const size_t middle = from + (to - from) / 2;

        if (strcmp(gate_node(set->items[middle].gate), node) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

struct gateset_item *gateset_find(const struct gateset *set, const char *node)
{
    const size_t i = place_of(set, node);

    return i < set->n_items && str_equal(gate_node(set->items[i].gate), node) ? &set->items[i]
                                                                              : NULL;
}

int gateset_add(struct gateset *set, struct gate *gate)
{
    const size_t i = place_of(set, gate_node(gate));

    if (!array_push(&set->items, &set->n_items, &set->capacity, sizeof(*set->items))) {
        gate_free(gate);
        return -ENOMEM;
    }
    memmove(&set->items[i + 1], &set->items[i], (set->n_items - 1 - i) * sizeof(*set->items));
    set->items[i] = (struct gateset_item){.gate = gate};
    return 0;
}

void gateset_drop(struct gateset *set, const char *node)
{
    struct gateset_item *item = gateset_find(set, node);

    if (!item)
        return;
    gate_free(item->gate);
    set->n_items--;
    memmove(item, item + 1, (size_t)(&set->items[set->n_items] - item) * sizeof(*item));
}
