// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What goes into the turns of a device, and what comes of them: what a unit may have, what its
 * processes claim, how heavy it is, its gate, and the plan for all of them.
 */

#include <stdbool.h>
#include <stdint.h>

#include "limits/page.h"

struct turns_terms {
    uint32_t share_ppm; /* of the device; above 0 */
};

/* Sums over the processes of a unit. All of it are claims, and may be nonsense. */
struct turns_sample {
    uint64_t n_launched; /* only goes on */
    uint64_t n_done;     /* of those, as far as the processes have seen; only goes on */
    uint64_t n_passed;   /* fences, as far as the device has told */
    uint64_t waited_ns;  /* only goes on */
    uint32_t n_waiting;  /* threads at the gate */
    bool is_in_flight;   /* a fence is behind something that is not done */
};

/* As in limits_device. */
struct turns_gate {
    enum limits_gate gate;
    bool is_next;          /* closed, and about to have a turn */
    uint32_t in_flight_us; /* what may be queued; when it is, launches wait until all is done; 0: */
    uint64_t turn_end_ns;  /* what begins before then */
};

/* How launches are let through. */
enum turns_plan {
    TURNS_FREE,         /* all of them */
    TURNS_GIVEN,        /* of one heavy unit at a time, and of all light ones */
    TURNS_BOUNDED,      /* the same, and who has the turn queues little, which leaves gaps */
    TURNS_FULL,         /* of one at a time of the heavy units without gaps, and of all others */
    TURNS_FULL_BOUNDED, /* as TURNS_BOUNDED */
    TURNS_N_PLANS,
};

static inline bool turns_plan_is_bounded(enum turns_plan plan)
{
    return plan == TURNS_BOUNDED || plan == TURNS_FULL_BOUNDED;
}

enum turns_weight {
    TURNS_UNJUDGED, /* launches like a light one */
    TURNS_LIGHT,
    TURNS_HEAVY,
    TURNS_FULLY, /* heavy, and without gaps that others could fill */
};

enum turns_reason {
    TURNS_OFF,       /* the mode is none or observe */
    TURNS_NO_NEED,   /* at most one heavy unit has work */
    TURNS_NO_GAPS,   /* several have, without gaps that others could fill: nothing to measure */
    TURNS_NOT_TRIED, /* several have, and what is best is not measured yet */
    TURNS_TRYING,    /* it is being measured */
    TURNS_MEASURED,  /* the best by progress */
    TURNS_UNDECIDED, /* measured, and too little was launched to tell */
    TURNS_STRICT,    /* heavy units get no more than their shares, by turns */
};
