// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A growing list of names, which it owns.
 */

#include <stddef.h>

#include "base/cleanup.h"

struct names {
    char **items;
    size_t n_items, capacity;
};

#define NAMES_INIT    \
    {                 \
        .items = NULL \
    }

void names_deinit(struct names *names);
#define cleanup_names cleanup(names_deinit)

/* Copies `length` bytes of name. 0 or -ENOMEM; the list is unchanged then. */
int names_add(struct names *names, const char *name, size_t length);

/* Sorts by bytes, or with each number in a name as one: type-8 before type-16. */
void names_sort(struct names *names);
void names_sort_by_version(struct names *names);
