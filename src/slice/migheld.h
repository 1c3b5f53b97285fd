// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Which instances of a layout are held, and how few of them would have to be released. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slice/device.h"
#include "slice/mig.h"
#include "slice/migplan.h"

enum { MIG_HELD_MAX = MIG_COMPUTES_MAX + MIG_INSTANCES_MAX };

/* A compute instance, or a GPU instance that has none. */
struct mig_unit {
    uint32_t instance, compute; /* positions in the layout; no compute: DEVICE_NO_INSTANCE */
    struct device_instance id;
};

struct mig_held {
    uint32_t n_units;
    struct mig_unit units[MIG_HELD_MAX];
};

enum migheld_outcome {
    MIGHELD_NONE = 1, /* not even if all were released */
};

/* `held` as in migstep_next. The layout has at most MIG_COMPUTES_MAX compute instances. */
void migheld_collect(const struct mig_layout *layout, const struct device_instance *held,
                     size_t n_held, struct mig_held *ret_units);

/* True if that entry of a list of held instances holds the unit. */
bool migheld_by(const struct device_instance *held, const struct mig_unit *unit);

/* What must stay when the units in `released` (bit i: unit i) are not held. */
struct mig_subset migheld_stay(const struct mig_held *units, uint32_t released);

/* The smallest set of units whose release lets the layout be reached. 0 or MIGHELD_NONE. */
int migheld_fewest(const struct mig_board *board, const struct mig_layout *layout,
                   const struct mig_want *want, const struct mig_held *units, uint64_t *work,
                   uint32_t *ret_released);
