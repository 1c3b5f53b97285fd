// SPDX-License-Identifier: Apache-2.0
#include "node/machine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

static bool usable(const struct inventory *seen, const struct gpu *known)
{
    const struct gpu *now = *known->uuid ? inventory_find(seen, known->uuid) : NULL;

    return now && !*now->unusable;
}

/* A GPU that could be used before and cannot be now. */
static bool is_missing(const struct inventory *seen, const struct gpu *known)
{
    return !*known->unusable && !usable(seen, known);
}

static bool any_missing(const struct inventory *known, const struct inventory *seen)
{
    for (size_t i = 0; i < known->n_gpus; i++)
        if (is_missing(seen, &known->gpus[i]))
            return true;
    return false;
}

static int by_index(const void *a, const void *b)
{
    const struct gpu *left = a, *right = b;

    return left->index < right->index ? -1 : left->index > right->index;
}

/*
 * What is known, with the values of now where there are some, and behind it what is new. A GPU
 * listed without a UUID is the missing one most likely, and tells nothing beside it.
 */
static int remember(const struct inventory *known, const struct inventory *seen,
                    struct inventory *ret_merged)
{
    struct inventory merged;
    struct gpu *gpus;
    int r = inventory_copy(&merged, known);

    if (r < 0)
        return r;
    gpus = reallocarray(merged.gpus, known->n_gpus + seen->n_gpus + 1, sizeof(*gpus));
    if (!gpus) {
        inventory_deinit(&merged);
        return -ENOMEM;
    }
    merged.gpus = gpus;
    for (size_t i = 0; i < known->n_gpus; i++)
        if (usable(seen, &gpus[i])) {
            unsigned index = gpus[i].index;

            gpus[i] = *inventory_find(seen, gpus[i].uuid);
            gpus[i].index = index;
        }
    for (size_t i = 0; i < seen->n_gpus; i++)
        if (*seen->gpus[i].uuid && !inventory_find(known, seen->gpus[i].uuid))
            gpus[merged.n_gpus++] = seen->gpus[i];
    if (merged.n_gpus != known->n_gpus) {
        free(merged.links); /* the matrix has another size now; links are advice */
        merged.links = NULL;
        qsort(gpus, merged.n_gpus, sizeof(*gpus), by_index);
    }
    *ret_merged = merged;
    return 0;
}

static bool gpu_equal(const struct gpu *a, const struct gpu *b)
{
    return a->index == b->index && str_equal(a->uuid, b->uuid) && str_equal(a->model, b->model) &&
           str_equal(a->unusable, b->unusable) && a->minor == b->minor &&
           a->numa_node == b->numa_node && a->mem_total_bytes == b->mem_total_bytes &&
           a->mem_reserved_bytes == b->mem_reserved_bytes && a->mig_enabled == b->mig_enabled &&
           a->mig_capable == b->mig_capable && str_equal(a->pci_address, b->pci_address) &&
           a->fabric_completed == b->fabric_completed && a->fabric_clique == b->fabric_clique &&
           str_equal(a->fabric_cluster, b->fabric_cluster);
}

static bool equal(const struct inventory *a, const struct inventory *b)
{
    if (a->n_gpus != b->n_gpus || !str_equal(a->driver_version, b->driver_version) ||
        a->cuda_version != b->cuda_version || !a->links != !b->links)
        return false;
    for (size_t i = 0; i < a->n_gpus; i++)
        if (!gpu_equal(&a->gpus[i], &b->gpus[i]))
            return false;
    return true;
}

int machine_update(struct inventory *known, const struct inventory *seen, bool *ret_changed)
{
    struct inventory next;
    int r = any_missing(known, seen) ? remember(known, seen, &next) : inventory_copy(&next, seen);

    if (r < 0)
        return r;
    *ret_changed = !equal(known, &next);
    inventory_deinit(known);
    *known = next;
    return 0;
}
