// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Who has the turn. Of the units that take turns (takes_turns), the one that is owed most and waits
 * has the next one. When it ends and somebody else waits, the gate is closed and the holder's work
 * is awaited, but not forever: then the next one has its turn all the same, the hardware shares
 * the device between them, and a unit to which that happens again and again is excused from turns
 * (a kernel that never ends; one that waits for another container).
 *
 * A holder without work gives way at once.
 */

#include <stdbool.h>
#include <stdint.h>

#include "arbiter/turnsunit.h"

enum {
    /* Light tenants wait for a slice of the hardware, however long turns are, and each hand-over
     * costs some 0.3 ms. A second has as many rounds as make it right to 4 %. */
    ROTATION_ROUND_US = 40000,     /* of all that take turns, ... */
    ROTATION_EVEN_LEAST_US = 6000, /* ... a turn of equal ones between these, ... */
    ROTATION_EVEN_MOST_US = 12000,
    ROTATION_TURN_LEAST_US = 3000, /* ... of unequal ones by their shares, between these */
    ROTATION_TURN_MOST_US = 24000,
    ROTATION_IDLE_US = 200,  /* a holder without work gives way */
    ROTATION_WAKE_US = 3000, /* its threads have been told so long ago, and nothing came */
    ROTATION_DRAIN_MS = 50,  /* how long a holder's work is awaited; the longest sane kernels */
    ROTATION_DRAIN_SHARED_MS = 100, /* with others' earlier work, which makes it slow */
    ROTATION_DRAIN_LEAST_MS = 5,    /* when that came to nothing too often: */
    ROTATION_DRAIN_RINGS_MS = 60,   /* ... those of rings (gangs.h) together, each up to ... */
    ROTATION_DRAIN_RING_MS = 20,    /* ... this; or, while it gets on, ... */
    ROTATION_FINISH_RINGS_MS = 150, /* ... this together, each up to ROTATION_DRAIN_MS */
    ROTATION_PATIENCE_MS = 120,     /* all such waits together, ... */
    ROTATION_PATIENCE_PART = 8,     /* ... and this part of time from then on */
    ROTATION_LEFTOVER_MS = 1000,    /* what was launched before its turn is awaited so long, and may
                                       take longer only while it gets on, ... */
    ROTATION_LONGEST_MS = 10000,    /* ... up to this: a thousand commands, beside others */
    ROTATION_STUCK_MS = 3000,       /* what is in flight beside others of rings is its owner's fault
                                       when it has not got on for so long */
    ROTATION_OVERDUE = 3,           /* in a row: it is excused, ... */
    ROTATION_EXCUSE_S = 10,      /* ... the first time for so long, each time twice as long ... */
    ROTATION_EXCUSE_MOST_S = 60, /* ... up to this; ... */
    ROTATION_EXCUSE_LEAST_S = 2, /* ... and for so long after nonsense */
    ROTATION_FORGIVEN_S = 60,    /* without one: the next is the first */
    ROTATION_WAIT_MS = 60,       /* a round and a half: a longer wait for a turn is too long */
    ROTATION_LOOK_US = 250,      /* how often a holder is looked at ... */
    ROTATION_DRAIN_LOOK_US =
        100, /* ... and one whose work is awaited: nobody uses the device then, ... */
    ROTATION_DRAIN_SOON_US = 20, /* ... at first, since most work is short, ... */
    ROTATION_SOON_US = 200,      /* ... for so long */
    ROTATION_AHEAD_US = 60, /* before a turn ends: to be called later than one asked for is usual */
    ROTATION_READY_US = 150, /* the next one's threads are woken so long before */
};

struct rotation {
    struct turns_unit *holder; /* NULL: nobody has the turn */
    struct turns_unit *next;   /* who is about to have one; NULL: nobody yet */
    bool is_draining;
    uint64_t granted_ns, end_ns, drain_ns;
    uint64_t active_ns;           /* when the holder last showed work */
    uint64_t patience_ns, run_ns; /* for waits that come to nothing; the last run */
    bool is_hurried;              /* there was none left, and has to be enough again */
    uint64_t n_overdue;
};

/* The turn is nobody's. */
void rotation_stop(struct rotation *rotation);

/* units: all of the device; is_strict: no turn beyond an allowance. */
void rotation_run(struct rotation *rotation, struct turns_unit *units, bool is_strict,
                  uint64_t now_ns);

/* Whether the unit has the turn and may launch. */
bool rotation_may_launch(const struct rotation *rotation, const struct turns_unit *unit);

/* Whether the unit has the turn, and has begun to use it and not ended. */
bool rotation_is_used(const struct rotation *rotation, const struct turns_unit *unit);

/* Whether it has waited too long for a turn. */
bool rotation_has_waited(const struct turns_unit *unit, uint64_t now_ns);

/* When it is to be run again. */
uint64_t rotation_next(const struct rotation *rotation, uint64_t now_ns);
