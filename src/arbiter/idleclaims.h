// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Who claims to be idle while somebody unseen uses the device. Whatever uses it makes all others
 * slower at once, also while they have the device for themselves as far as anybody says. When at
 * least two units are known to get on well below what they did, for seconds, and at the same time,
 * those that claim to have no work at all are suspects: nobody else is left. A program of one unit
 * that changes what it does makes nobody a suspect, nor does one that begins to work and says so.
 *
 * What is usual is known of turns alone: where all run free, nobody is found.
 */

#include <stdbool.h>
#include <stdint.h>

#include "arbiter/turnsunit.h"

enum {
    IDLECLAIMS_LOOK_MS = 1000,
    IDLECLAIMS_FALL_PPM = 800000, /* of the usual pace: below */
    IDLECLAIMS_LOOKS = 3,         /* in a row */
    IDLECLAIMS_IDLE_MS = 1000,    /* without any work, as claimed */
    IDLECLAIMS_LEARN_PART = 8,    /* the usual pace follows by that part, while nobody falls */
};

struct idleclaims {
    uint64_t passed_ns; /* since the last look */
    uint32_t n_looks;   /* in a row in which all fell */
    uint64_t workers;   /* who has work */
    bool has_changed;   /* that, since the last look: then what is usual is learnt again */
};

void idleclaims_run(struct idleclaims *claims, struct turns_unit *units, uint64_t ns,
                    uint64_t now_ns);
