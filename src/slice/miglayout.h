// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The MIG devices of a layout that does not exist yet, for showing what it would offer.
 *
 * A driver gives a MIG device a UUID that only it can compute. Instead of one, such a device has
 * the name that drivers gave before R470: "MIG-GPU-<uuid of the GPU>/<GPU instance>/<compute
 * instance>".
 */

#include <stddef.h>

#include "slice/inventory.h"
#include "slice/mig.h"

/* Makes a GPU of the inventory have this layout, of this board. 0 or -ENOMEM. */
int miglayout_assume(struct inventory *inventory, size_t gpu, const struct mig_board *board,
                     const struct mig_layout *layout);
