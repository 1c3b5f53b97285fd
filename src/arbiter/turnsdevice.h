// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The turns of a device, as turns.c runs them and gangs.c brings those of several devices together.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arbiter/billing.h"
#include "arbiter/idleclaims.h"
#include "arbiter/probe.h"
#include "arbiter/rotation.h"
#include "arbiter/trial.h"
#include "arbiter/turnsunit.h"

struct turns {
    struct turns_unit *units;
    size_t n_units;
    uint64_t n_ever;
    enum limits_compute mode;
    uint64_t now_ns, before_ns; /* of the last run, and of the one before */
    struct billing billing;
    struct rotation rotation;
    struct unit_probe probe;
    struct trial trial;
    struct idleclaims idleclaims;
    /* Of the last run. */
    enum turns_plan plan;
    enum turns_reason reason;
    bool was_trying;
    bool is_crowd; /* no heavy ones, and the light ones take turns if that is better */
    size_t n_active, n_heavy, n_taking; /* of those that are active */
    uint64_t plan_ns[TURNS_N_PLANS];
    /* Of several devices (gangs.h). */
    size_t rank;                /* in their order: who decides for others comes first */
    bool has_gangs;             /* some unit is at work on other devices, too: nobody is probed */
    const struct turns *leader; /* whose plan it has; NULL: its own */
    size_t n_rings_led;         /* at work on a device that has this one's plan; the most of them */
};
