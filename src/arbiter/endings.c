// SPDX-License-Identifier: Apache-2.0
#include "arbiter/endings.h"

#include <stdlib.h>

#include "base/array.h"

struct ended_process {
    uint32_t pid;
    const void *owner;
};

void endings_clear(struct endings *endings)
{
    endings->n = 0;
    endings->overflowed = false;
}

void endings_add(struct endings *endings, uint32_t pid, const void *owner)
{
    struct ended_process *ended =
        endings->n < ENDINGS_MAX
            ? array_push(&endings->items, &endings->n, &endings->capacity, sizeof(*ended))
            : NULL;

    if (ended)
        *ended = (struct ended_process){pid, owner};
    else
        endings->overflowed = true;
}

bool endings_have(const struct endings *endings, uint32_t pid, const void *owner)
{
    for (size_t i = 0; i < endings->n; i++)
        if (endings->items[i].pid == pid && endings->items[i].owner == owner)
            return true;
    return endings->overflowed;
}

void endings_deinit(struct endings *endings)
{
    free(endings->items);
    *endings = (struct endings)ENDINGS_INIT;
}
