// SPDX-License-Identifier: Apache-2.0
#include "base/names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"

void names_deinit(struct names *names)
{
    for (size_t i = 0; i < names->n_items; i++)
        free(names->items[i]);
    free(names->items);
    *names = (struct names)NAMES_INIT;
}

int names_add(struct names *names, const char *name, size_t length)
{
    cleanup_free char *copy = strndup(name, length);
    char **place =
        copy ? array_push(&names->items, &names->n_items, &names->capacity, sizeof(*names->items))
             : NULL;

    if (!place)
        return -ENOMEM;
    *place = TAKE_PTR(copy);
    return 0;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int by_version(const void *a, const void *b)
{
    return strverscmp(*(char *const *)a, *(char *const *)b);
}

static void sort(struct names *names, int (*compare)(const void *a, const void *b))
{
    if (names->n_items)
        qsort(names->items, names->n_items, sizeof(*names->items), compare);
}

void names_sort(struct names *names)
{
    sort(names, by_bytes);
}

void names_sort_by_version(struct names *names)
{
    sort(names, by_version);
}
