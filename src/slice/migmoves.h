// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * When a GPU waits for pods, and its wanted layout has a device for each of them, only not where
 * they are: which of them would have to move, that is, to end and be created again.
 */

#include <stddef.h>

#include "base/text.h"
#include "slice/device.h"
#include "slice/mig.h"
#include "slice/migwant.h"

enum { MIGMOVES_NAMED = 4 };

/* Who holds what, "pod default/train". Borrowed. */
struct migmoves_held {
    const struct device_instance *instances; /* as for migstep_next */
    const char *const *names;                /* of each */
    size_t n;
};

/* Appends "; there is room for all when pod default/train moves from memory slice 5 to 1", or
 * nothing: the GPU has other devices than those that are held, or moves do not help. */
void migmoves_add(const struct mig_board *board, const struct mig_layout *layout,
                  const struct mig_want *want, const struct migmoves_held *held, struct text *text);
