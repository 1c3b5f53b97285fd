// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A unit of a device's turns, as the parts of the policy share it: turns.c observes and judges it,
 * rotation.c gives it turns, trial.c counts its progress.
 */

#include <stdbool.h>
#include <stdint.h>

#include "arbiter/duty.h"
#include "arbiter/pace.h"
#include "arbiter/ration.h"
#include "arbiter/turnsterms.h"

struct rotation;
struct turns;

/* After nonsense a unit has no say for so long. */
enum { UNIT_CREDIBLE_S = 10 };

/* Whether another device decides when it has the turn (gangs.h). */
enum unit_lead {
    UNIT_ALONE, /* no */
    UNIT_HELD,  /* it has none there, and so none here */
    UNIT_LED,   /* it has the turn there, and so here */
};

/* Of the other devices of its container, as far as turns here depend on them; by gangs.h before
 * each run. */
struct unit_gang {
    struct turns_unit *peer; /* the next one of its ring; NULL: it has none */
    uint64_t n_settled; /* launched, when nothing of the ring was in flight after a turn, ... */
    bool is_uneven;     /* ... and since the time before not as many as on the others */
    bool is_at_work;    /* on another device, too */
    bool is_away;       /* a thread of it waits at a gate there: here it may have more to do */
    bool is_contested;  /* it is not, and others are: it begins with the arbiter's leave */
    enum unit_lead lead;
    const struct rotation *by; /* unless UNIT_ALONE: where it has its turns */
    bool is_next;              /* it is about to have the turn there */
    /* Where its turns are decided here: on one of the others ... */
    bool is_waiting, is_in_flight, is_used_up;
    bool gets_on;     /* ... or here, ... */
    bool is_blocked;  /* ... somebody else has a turn that is not decided here */
    bool is_settling; /* in its turn nothing new is launched, ... */
    bool is_behind;   /* ... but one more here, which is awaited elsewhere */
};

struct turns_unit {
    struct turns_unit *next;
    struct turns *turns;
    uint64_t id; /* of all units that ever were */
    struct turns_sample sample;
    struct turns_gate gate;

    uint64_t added_ns;

    /* Observed by the last run. */
    bool is_in_flight, is_waiting;
    uint64_t n_launched, n_done, n_passed; /* as claimed */
    uint64_t n_new, n_newly_done;          /* since the run before; bounded */
    uint64_t n_open;                       /* of what was launched, not known to be done */
    uint64_t n_ahead;                      /* known to be done, and not claimed yet */
    uint64_t worked_ns;                    /* when it had work last; 0: never */
    uint64_t used_ns;     /* when it launched, or had work in flight, last; 0: never */
    uint64_t idle_ns;     /* when it was last seen without any in flight */
    uint64_t nonsense_ns; /* when it last claimed what cannot be; 0: never */
    bool is_active;       /* had work a moment ago */
    bool was_clean;       /* the time since the run before, or its last one with an open gate */
    uint64_t charged_ns;  /* for the time since the run before */
    struct duty duty;
    struct ration ration;
    struct pace pace, turn_pace; /* alone; in its turns, whatever ran beside it */

    /* Turns. */
    bool takes_turns;
    bool has_leftover; /* in flight from before it took turns, or from an earlier one */
    uint64_t leftover_ns;
    uint64_t got_on_ns;        /* when something of it was done last */
    uint32_t n_overdue_in_row; /* drains that took too long */
    uint32_t n_excused;        /* how often it was excused, each time soon after the last one */
    uint64_t excused_ns;       /* it takes no turns until then */
    uint64_t n_turns, n_overdue;
    struct unit_gang gang;
    uint64_t wanted_ns; /* since when it waits for a turn; 0: it does not */

    /* When it may be probed again, also while it is presumed to be heavy; after how long the next
     * time. */
    uint64_t probe_ns, presumed_ns, probe_wait_ns;

    /* Of the trial that is on. */
    uint64_t n_tried[TURNS_N_PLANS];  /* done */
    uint64_t n_in_turns, in_turns_ns; /* done in turns of its own, which took so long */
    bool is_suspect;
    double usual_per_s;      /* its pace in turns, as long as nothing changes */
    uint32_t n_windows_seen; /* of that */
};

/* Whether it has been excused from turns. */
static inline bool unit_is_excused(const struct turns_unit *unit, uint64_t now_ns)
{
    return unit->excused_ns > now_ns;
}

static inline bool unit_is_credible(const struct turns_unit *unit, uint64_t now_ns)
{
    return !unit->nonsense_ns ||
           unit->nonsense_ns + UNIT_CREDIBLE_S * UINT64_C(1000000000) < now_ns;
}

/* Work of one that takes turns, from before its turn. */
static inline bool unit_has_leftover(const struct turns_unit *unit)
{
    return unit->takes_turns && unit->has_leftover && unit->is_in_flight;
}

static inline bool unit_is_full(const struct turns_unit *unit)
{
    return unit->duty.is_judged && unit->duty.is_heavy && unit->duty.ppm >= DUTY_FULL_PPM;
}

static inline bool unit_is_heavy(const struct turns_unit *unit)
{
    return unit->duty.is_judged && unit->duty.is_heavy;
}

/* By the plan; is_crowd: there are no heavy ones, and the light ones take turns. */
static inline bool unit_has_turns(const struct turns_unit *unit, enum turns_plan plan,
                                  bool is_crowd)
{
    switch (plan) {
    case TURNS_GIVEN:
    case TURNS_BOUNDED:
        return is_crowd || unit_is_heavy(unit);
    case TURNS_FULL:
    case TURNS_FULL_BOUNDED:
        return unit_is_full(unit);
    case TURNS_FREE:
    case TURNS_N_PLANS:
        break;
    }
    return false;
}

static inline enum turns_weight unit_get_weight(const struct turns_unit *unit)
{
    if (!unit->duty.is_judged)
        return TURNS_UNJUDGED;
    if (!unit->duty.is_heavy)
        return TURNS_LIGHT;
    return unit_is_full(unit) ? TURNS_FULLY : TURNS_HEAVY;
}
