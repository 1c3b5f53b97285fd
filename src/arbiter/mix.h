// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The units that have work at the same time, and what can be done with them: which plans a trial
 * may choose from, and which one holds until it did.
 */

#include <stddef.h>
#include <stdint.h>

#include "arbiter/trial.h"
#include "arbiter/turnsunit.h"

enum {
    MIX_CROWD_PPM = 900000, /* light units with such a duty in sum may fill the device */
};

/* n_rings_led: so many heavy units of containers that use several devices are on a device which has
 * the same plan. */
void mix_make(struct trial_mix *mix, const struct turns_unit *units, enum limits_compute mode,
              size_t n_rings_led, uint64_t now_ns);

/* How many such units are among these. */
size_t mix_count_rings(const struct turns_unit *units, uint64_t now_ns);
