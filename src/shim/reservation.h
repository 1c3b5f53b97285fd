// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Bytes of a device that programs ask for: they are reserved at the arbiter before the driver is
 * asked, and released when it has freed them.
 *
 * Small amounts come out of the slot's credit and go back into it, without a message. Near the
 * limit a credit is given up for what is asked for, and none is granted. Where nobody answers, it
 * is the allowance that has to do (slot.h); while a new arbiter has not answered yet, it pays as
 * well.
 *
 * As uplink.h: behind uplink_is_on, with the session's lock.
 */

#include <stdbool.h>
#include <stdint.h>

#include "shim/uplink.h"

/* False: they would be beyond the limit. */
bool reservation_take(struct uplink *uplink, struct slot *slot, uint64_t bytes);

/* The driver has taken them already, whatever the limit is. */
void reservation_charge(struct uplink *uplink, struct slot *slot, uint64_t bytes);

void reservation_give(struct uplink *uplink, struct slot *slot, uint64_t bytes);

/* --- for what the driver takes by itself (overhead.h) --- */

/* Where nobody answers. False: it is more than the allowance. */
bool reservation_take_alone(const struct uplink *uplink, struct slot *slot, uint64_t bytes);

/* Gives the credit up if it stands in the way of so much. */
void reservation_make_room(struct uplink *uplink, struct slot *slot, uint64_t bytes);
