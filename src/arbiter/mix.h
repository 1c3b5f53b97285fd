// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The units that have work at the same time, and what can be done with them: which plans a trial
 * may choose from, and which one holds until it did.
 */

#include <stdint.h>

#include "arbiter/trial.h"
#include "arbiter/turnsunit.h"

enum {
    MIX_CROWD_PPM = 900000, /* light units with such a duty in sum may fill the device */
};

void mix_make(struct trial_mix *mix, const struct turns_unit *units, enum limits_compute mode,
              uint64_t now_ns);
