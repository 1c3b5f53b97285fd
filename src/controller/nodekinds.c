// SPDX-License-Identifier: Apache-2.0
#include "controller/nodekinds.h"

#include <errno.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/text.h"

void nodekinds_init(struct nodekinds *kinds)
{
    *kinds = (struct nodekinds){.collect_at = NODEKINDS_KEPT};
}

void nodekinds_deinit(struct nodekinds *kinds)
{
    for (size_t i = 0; i < kinds->n_items; i++)
        nodekind_free(kinds->items[i]);
    free(kinds->items);
    nodekinds_init(kinds);
}

const struct nodekind *nodekinds_find(const struct nodekinds *kinds, const struct nodeview *view)
{
    for (size_t i = 0; i < kinds->n_items; i++)
        if (nodekind_has(kinds->items[i], view))
            return kinds->items[i];
    return NULL;
}

int nodekinds_ensure(struct nodekinds *kinds, const struct nodeview *view, const json_t *labels)
{
    struct nodekind *kind, **place;

    if (nodekinds_find(kinds, view))
        return 0;
    kind = nodekind_new(view, labels);
    place =
        kind ? array_push(&kinds->items, &kinds->n_items, &kinds->capacity, sizeof(kind)) : NULL;
    if (!place) {
        nodekind_free(kind);
        return -ENOMEM;
    }
    *place = kind;
    return 0;
}

void nodekinds_touch(struct nodekinds *kinds, const char *profile)
{
    for (size_t i = 0; i < kinds->n_items; i++)
        if (!profile || str_equal(kinds->items[i]->profile, profile))
            kinds->items[i]->is_stale = true;
}

bool nodekinds_are_stale(const struct nodekinds *kinds)
{
    for (size_t i = 0; i < kinds->n_items; i++)
        if (kinds->items[i]->is_stale)
            return true;
    return false;
}

void nodekinds_collect(struct nodekinds *kinds,
                       bool (*is_used)(const struct nodekind *kind, const void *userdata),
                       const void *userdata)
{
    if (kinds->n_items < kinds->collect_at)
        return;
    for (size_t i = kinds->n_items; i-- > 0;)
        if (!is_used(kinds->items[i], userdata)) {
            nodekind_free(kinds->items[i]);
            kinds->items[i] = kinds->items[--kinds->n_items];
        }
    kinds->collect_at = kinds->n_items * 2 + NODEKINDS_KEPT;
}
