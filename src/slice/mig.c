// SPDX-License-Identifier: Apache-2.0
#include "slice/mig.h"

#include <string.h>

static bool computes_equal(const struct mig_instance *a, const struct mig_instance *b)
{
    for (uint32_t i = 0; i < a->n_computes; i++) {
        const struct mig_compute *x = &a->computes[i], *y = &b->computes[i];

        if (x->id != y->id || x->profile != y->profile || x->start != y->start ||
            x->slices != y->slices)
            return false;
    }
    return true;
}

bool mig_layout_equal(const struct mig_layout *a, const struct mig_layout *b)
{
    if (a->enabled != b->enabled || a->pending != b->pending || a->n_instances != b->n_instances)
        return false;
    for (uint32_t i = 0; i < a->n_instances; i++) {
        const struct mig_instance *x = &a->instances[i], *y = &b->instances[i];

        if (x->id != y->id || x->profile != y->profile || x->start != y->start ||
            x->n_computes != y->n_computes || !computes_equal(x, y))
            return false;
    }
    return true;
}

static bool profiles_equal(const struct mig_profile *a, const struct mig_profile *b)
{
    return strcmp(a->name, b->name) == 0 && a->index == b->index && a->id == b->id &&
           a->max_count == b->max_count && a->mem_bytes == b->mem_bytes &&
           memcmp(&a->shape, &b->shape, sizeof(a->shape)) == 0 && a->slots == b->slots &&
           a->starts == b->starts && a->n_computes == b->n_computes &&
           memcmp(a->computes, b->computes, a->n_computes * sizeof(a->computes[0])) == 0;
}

bool mig_board_equal(const struct mig_board *a, const struct mig_board *b)
{
    if (a->n_slots != b->n_slots || a->n_profiles != b->n_profiles)
        return false;
    for (uint32_t i = 0; i < a->n_profiles; i++)
        if (!profiles_equal(&a->profiles[i], &b->profiles[i]))
            return false;
    return true;
}
