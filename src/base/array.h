// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Growing arrays of plain structs: a pointer, a count and a capacity embedded in the owner.
 *
 *     struct thing *new = array_push(&list->things, &list->n_things, &list->capacity,
 * sizeof(*new)); if (!new) return -ENOMEM;
 */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Appends one zeroed item and returns it, or NULL without memory (the array is unchanged). */
static inline void *array_push(void *items_p, size_t *n_items, size_t *capacity, size_t item_size)
{
    char *items;

    memcpy(&items, items_p, sizeof(items));
    if (*n_items == *capacity) {
        size_t more = *capacity ? *capacity * 2 : 8;

        /* Not reallocarray(): gcc 12's analyzer takes one that failed for one that freed. */
        items = more > SIZE_MAX / item_size ? NULL : realloc(items, more * item_size);
        if (!items)
            return NULL;
        memcpy(items_p, &items, sizeof(items));
        *capacity = more;
    }
    items += *n_items * item_size;
    memset(items, 0, item_size);
    (*n_items)++;
    return items;
}

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
