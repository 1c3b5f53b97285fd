// SPDX-License-Identifier: Apache-2.0
#include "ids.h"

#include <errno.h>
#include <string.h>

#include "base/array.h"

void ids_deinit(struct ids *ids)
{
    for (size_t i = 0; i < ids->n_items; i++)
        free(ids->items[i]);
    free(ids->items);
    *ids = (struct ids)IDS_INIT;
}

/* Index of the first item not less than id. */
static size_t lower_bound(const struct ids *ids, const char *id)
{
    size_t low = 0, high = ids->n_items;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (strcmp(ids->items[middle], id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool ids_has(const struct ids *ids, const char *id)
{
    size_t at = lower_bound(ids, id);

    return at < ids->n_items && strcmp(ids->items[at], id) == 0;
}

int ids_add(struct ids *ids, const char *id)
{
    size_t at = lower_bound(ids, id);
    char *copy;

    if (at < ids->n_items && strcmp(ids->items[at], id) == 0)
        return 0;
    copy = strdup(id);
    if (!copy || !array_push(&ids->items, &ids->n_items, &ids->capacity, sizeof(*ids->items))) {
        free(copy);
        return -ENOMEM;
    }
    memmove(ids->items + at + 1, ids->items + at, (ids->n_items - 1 - at) * sizeof(*ids->items));
    ids->items[at] = copy;
    return 0;
}

int ids_add_all(struct ids *ids, const struct ids *more)
{
    for (size_t i = 0; i < more->n_items; i++)
        if (ids_add(ids, more->items[i]) < 0)
            return -ENOMEM;
    return 0;
}

void ids_remove(struct ids *ids, const char *id)
{
    size_t at = lower_bound(ids, id);

    if (at == ids->n_items || strcmp(ids->items[at], id) != 0)
        return;
    free(ids->items[at]);
    ids->n_items--;
    memmove(ids->items + at, ids->items + at + 1, (ids->n_items - at) * sizeof(*ids->items));
}
