// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Defragmentation, as a plan: which instances would have to lie elsewhere so that one more device
 * fits, or a whole layout. The fewest that are held, and then the fewest steps. An instance moves
 * when its holders have ended: it is destroyed, and created at its new place. One that offers no
 * device, because it has no compute instance or a profile that the board does not know, has only to
 * be destroyed, and only if it is in the way.
 */

#include <stddef.h>
#include <stdint.h>

#include "slice/device.h"
#include "slice/mig.h"
#include "slice/migfit.h"
#include "slice/migkind.h"
#include "slice/migwant.h"

struct mig_move {
    uint32_t instance; /* GPU instance, id of the driver */
    uint32_t from, to; /* first memory slice; to MIG_START_ANY: it is not created again */
    bool is_held;
};

struct mig_room {
    uint32_t n_moves; /* 0: there is room as it is */
    struct mig_move moves[MIG_INSTANCES_MAX];
};

enum migroom_outcome {
    MIGROOM_NONE = 1, /* not even if every instance could move */
};

/* For all of a layout, of which `layout` has some devices already. `held` as in migstep_next. 0 or
 * MIGROOM_NONE. */
int migroom_for_layout(const struct mig_board *board, const struct mig_layout *layout,
                       const struct mig_want *want, const struct device_instance *held,
                       size_t n_held, struct mig_room *ret_room);

/* For one more device of that kind. */
int migroom_make(const struct mig_board *board, const struct mig_layout *layout,
                 struct mig_kind kind, const struct device_instance *held, size_t n_held,
                 struct mig_room *ret_room);
