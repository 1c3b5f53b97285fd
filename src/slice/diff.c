// SPDX-License-Identifier: Apache-2.0
#include "slice/diff.h"

#include <errno.h>
#include <string.h>

static size_t count(const struct plan *plan)
{
    return plan ? plan->n_resources : 0;
}

/* Which comes first by name; a plan that is through comes last. */
static int compare_heads(const struct plan *a, size_t i, const struct plan *b, size_t j)
{
    if (i >= count(a))
        return 1;
    if (j >= count(b))
        return -1;
    return strcmp(a->resources[i].name, b->resources[j].name);
}

int plan_diff(const struct plan *in_old, const struct plan *in_new, struct plan_diff *ret_diff)
{
    struct plan_diff diff = PLAN_DIFF_INIT;
    size_t i = 0, j = 0;

    diff.items = calloc(count(in_old) + count(in_new) + 1, sizeof(*diff.items));
    if (!diff.items)
        return -ENOMEM;
    /* Both are sorted by name, so one walk over the two merges them. */
    while (i < count(in_old) || j < count(in_new)) {
        struct plan_diff_item *item = &diff.items[diff.n_items++];
        int order = compare_heads(in_old, i, in_new, j);

        if (order <= 0)
            item->in_old = &in_old->resources[i++];
        if (order >= 0)
            item->in_new = &in_new->resources[j++];
        if (order != 0)
            item->change = order < 0 ? PLAN_REMOVED : PLAN_ADDED;
        else if (!plan_resource_equal(in_old, item->in_old, in_new, item->in_new))
            item->change = PLAN_CHANGED;
    }
    *ret_diff = diff;
    return 0;
}

void plan_diff_deinit(struct plan_diff *diff)
{
    free(diff->items);
    *diff = (struct plan_diff)PLAN_DIFF_INIT;
}
