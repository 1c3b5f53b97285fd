// SPDX-License-Identifier: Apache-2.0
#include "arbiter/limituses.h"

#include <stdlib.h>

#include "base/array.h"

void limituses_deinit(struct limituses *uses)
{
    free(uses->items);
    *uses = (struct limituses)LIMITUSES_INIT;
}

void limituses_add(struct limituses *uses, const struct limituse *use)
{
    struct limituse *item =
        array_push(&uses->items, &uses->n, &uses->capacity, sizeof(*uses->items));

    if (item)
        *item = *use;
    else
        uses->failed = true;
}

/* Who has all of a device has no limit to be enforced. */
static bool has_part(const struct audit_use *use, const struct device *device)
{
    return use->n_slices > 0 && use->n_processes > 0 && use->limit_bytes > 0 &&
           use->limit_bytes < device->mem_total_bytes;
}

/* The page of its processes has no limit, whether they are connected or not. */
static void set_limit(struct limituse *item, const struct audit_use *use)
{
    item->limit_bytes = use->limit_bytes;
    item->n_registered = 0;
}

static void add_ungranted(struct limituses *uses, const struct audit_use *use, const char *uuid)
{
    const struct limituse made = {.namespace_ = use->owner.namespace_,
                                  .pod = use->owner.pod,
                                  .pod_uid = use->owner.pod_uid,
                                  .container = use->owner.container,
                                  .uuid = uuid,
                                  .limit_bytes = use->limit_bytes,
                                  .charged_bytes = use->used_bytes,
                                  .n_processes = use->n_processes,
                                  .is_ungranted = true};

    limituses_add(uses, &made);
}

void limituses_add_ungranted(struct limituses *uses, const struct audit *audit)
{
    for (size_t i = 0; i < audit->n_uses; i++) {
        const struct audit_use *use = &audit->uses[i];
        const struct device *device = &audit->devices[use->device].device;
        size_t found;

        if (!has_part(use, device))
            continue;
        found = limituse_find(uses->items, uses->n, use, device->uuid);
        if (found == uses->n)
            add_ungranted(uses, use, device->uuid);
        else if (!uses->items[found].limit_bytes)
            set_limit(&uses->items[found], use);
    }
}
