// SPDX-License-Identifier: Apache-2.0
#include "slice/migheld.h"

/* An entry for a compute instance that is gone holds nothing. */
bool migheld_by(const struct device_instance *held, const struct mig_unit *unit)
{
    return device_instances_overlap(*held, unit->id) &&
           (unit->compute != DEVICE_NO_INSTANCE || held->compute == DEVICE_NO_INSTANCE);
}

static void add_if_held(const struct device_instance *held, size_t n_held, struct mig_unit unit,
                        struct mig_held *units)
{
    size_t i = 0;

    while (i < n_held && !migheld_by(&held[i], &unit))
        i++;
    if (i < n_held)
        units->units[units->n_units++] = unit;
}

void migheld_collect(const struct mig_layout *layout, const struct device_instance *held,
                     size_t n_held, struct mig_held *ret_units)
{
    ret_units->n_units = 0;
    for (uint32_t i = 0; i < layout->n_instances; i++) {
        const struct mig_instance *instance = &layout->instances[i];
        struct mig_unit unit = {i, DEVICE_NO_INSTANCE, {instance->id, DEVICE_NO_INSTANCE}};

        if (!instance->n_computes)
            add_if_held(held, n_held, unit, ret_units);
        for (uint32_t j = 0; j < instance->n_computes; j++) {
            unit.compute = j;
            unit.id.compute = instance->computes[j].id;
            add_if_held(held, n_held, unit, ret_units);
        }
    }
}

struct mig_subset migheld_stay(const struct mig_held *units, uint32_t released)
{
    struct mig_subset stay = {0};

    for (uint32_t i = 0; i < units->n_units; i++) {
        const struct mig_unit *unit = &units->units[i];

        if (released >> i & 1)
            continue;
        stay.instances |= 1U << unit->instance;
        if (unit->compute != DEVICE_NO_INSTANCE)
            stay.computes[unit->instance] |= 1U << unit->compute;
    }
    return stay;
}

int migheld_fewest(const struct mig_board *board, const struct mig_layout *layout,
                   const struct mig_want *want, const struct mig_held *units, uint64_t *work,
                   uint32_t *ret_released)
{
    uint32_t all = (1U << units->n_units) - 1;
    struct mig_subset stay = migheld_stay(units, all);

    if (!migplan_exists(board, layout, want, &stay, work))
        return MIGHELD_NONE;
    for (int n = 0; n <= (int)units->n_units; n++)
        for (uint32_t released = 0; released <= all; released++) {
            if (__builtin_popcount(released) != n)
                continue;
            stay = migheld_stay(units, released);
            if (!migplan_exists(board, layout, want, &stay, work))
                continue;
            *ret_released = released;
            return 0;
        }
    return MIGHELD_NONE;
}
