// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The turns of one device (doc/design/0028-turns.md): which of the containers that use it may
 * launch now.
 *
 * A unit is a container's slices of the device, whatever number of processes it has. Its owner says
 * what the unit's processes claim (turns_sample) of all units, calls turns_run, and then shows each
 * unit its gate (turns_gate). At any time at most one unit has a turn, and while some unit has work
 * that it does not let wait, one of them gets on within 200 ms, whatever others claim.
 *
 * Pure: no I/O, no clock, no allocation but in turns_new and turns_add. Time is nanoseconds of a
 * clock that does not run backwards; if it does, no time has passed.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arbiter/turnsterms.h"
#include "limits/page.h"

enum {
    TURNS_UNITS_MAX = 512, /* of a device */
};

struct turns;
struct turns_unit;

struct turns_view {
    enum turns_weight weight;
    uint32_t duty_ppm; /* of the time that it had for itself, when that was judged last */
    /* Since it was added. Each second what it received beyond what it is entitled to is borrowed,
     * and what it left to others, who took it, is lent. */
    uint64_t entitled_ns, received_ns, borrowed_ns, lent_ns;
    uint64_t waited_ns;          /* by its threads, as claimed */
    uint64_t n_turns, n_overdue; /* of those, after so many its work took too long to finish */
    bool is_overdue;             /* so it launches without turns for a while, and is charged */
    bool is_capped;              /* strict: it has had its share for now */
    bool is_suspect;             /* it claims to be idle while the progress of all others fell */
    double alone_per_s;          /* commands, while it had the device for itself; 0: not known */
};

struct turns_state {
    enum limits_compute mode;
    enum turns_plan plan;
    enum turns_reason reason;
    bool is_probing; /* others wait for some milliseconds: what is one unit, by itself? */
    /* Progress in sum over the units of the mix: rates by the best rates. 0: not measured. */
    double progress[TURNS_N_PLANS];
    uint64_t plan_ns[TURNS_N_PLANS]; /* how long each was in force */
    uint64_t n_trials, n_probes, n_overdue;
    size_t n_units, n_active, n_heavy; /* with work within the last 250 ms; heavy ones of them */
};

/* NULL without memory. It gives no turns until it has a mode. */
struct turns *turns_new(void);

/* Its units are removed before. NULL is allowed. */
void turns_free(struct turns *turns);

void turns_set_mode(struct turns *turns, enum limits_compute mode);

/* 0, -ENOMEM, or -ENOSPC with too many. */
int turns_add(struct turns *turns, const struct turns_terms *terms, struct turns_unit **ret_unit);

/* Its processes ended. Whatever it had is the others'. */
void turns_remove(struct turns_unit *unit);

/* It is other containers from now on, with another share. What it owes and how heavy it is stay;
 * what was measured of its progress is void, and so is an excuse from turns. */
void turns_change(struct turns_unit *unit, const struct turns_terms *terms);

/* They are the same container's, on different devices, and have their turns at the same time where
 * gangs_run (gangs.h) is called instead of turns_run. other: of no ring yet. */
void turns_tie(struct turns_unit *unit, struct turns_unit *other);

/* It is of no ring any more. */
void turns_untie(struct turns_unit *unit);

/* Before turns_run, of each unit that may have changed. */
void turns_sample(struct turns_unit *unit, const struct turns_sample *sample);

/* Decides; gates are valid until the next call. Returns when that has to be at the latest:
 * UINT64_MAX while no units have anything to wait for. */
uint64_t turns_run(struct turns *turns, uint64_t now_ns);

const struct turns_gate *turns_gate(const struct turns_unit *unit);

void turns_view(const struct turns_unit *unit, struct turns_view *ret_view);
void turns_state(const struct turns *turns, struct turns_state *ret_state);
