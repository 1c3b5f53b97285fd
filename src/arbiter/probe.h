// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A unit seen alone: one that seems to be busy, and whose verdict (duty.h) is missing or may be out
 * of date, has the device for itself for some milliseconds while all others wait. Each time it is
 * found to be what it was known for, it is asked less often, unless it seems to have changed.
 *
 * Before that, all that seem to be busy are held until what they launched is done. Those for which
 * that takes too long are taken for heavy: in their turns they will be seen.
 */

#include <stdbool.h>
#include <stdint.h>

#include "arbiter/turnsunit.h"

enum {
    PROBE_MS = 20,      /* of time alone: three slices of the hardware, and many kernels */
    PROBE_LATE_MS = 1,  /* that its end may be seen later: nobody waits then who has no need to */
    PROBE_DRAIN_MS = 6, /* times the active units: two slices of each are done by then, and who is
                           still busy has a backlog; meanwhile the device is busy */
    PROBE_DRAIN_LEAST_MS = 30, /* and between these */
    PROBE_DRAIN_MOST_MS = 100,
    PROBE_CHAIN = 8,       /* of several units one after another: then queues are awaited once */
    PROBE_APART_MS = 100,  /* after that; after one that failed each time twice as long */
    PROBE_AGAIN_MS = 1000, /* of the same unit, eight times as long each time ... */
    PROBE_AGAIN_MOST_MS = 60000, /* ... up to this: all others wait, and what does something else
                                    is found by that (duty.h) */
};

struct unit_probe {
    struct turns_unit *unit; /* NULL: none is on */
    uint64_t began_ns;
    bool is_drained;               /* those that seemed busy have nothing in flight any more */
    uint64_t alone_ns;             /* since when all others are idle; 0: not yet */
    uint32_t n_in_chain, n_failed; /* in a row */
    uint64_t earliest_ns;          /* of the next one */
    uint64_t n_probes;
};

/* Nothing comes of the one that is on. */
void probe_stop(struct unit_probe *probe);

/* Whether it has to wait for the probe that is on. First, all that are busy, until their work is
 * done; then everybody else, for PROBE_MS. */
bool probe_holds(const struct unit_probe *probe, const struct turns_unit *unit);

/* Until when the one that is on may launch: what is not done by then, the next one waits for. */
uint64_t probe_end_ns(const struct unit_probe *probe, uint64_t now_ns);

/* Whether some unit is to be probed now. */
bool probe_is_due(const struct unit_probe *probe, struct turns_unit *units, uint64_t now_ns);

/* Ends the one that is on if it is time; begins one that is due, if it may. */
void probe_run(struct unit_probe *probe, struct turns_unit *units, bool may_begin, uint64_t now_ns);

/* Instead, where a device cannot be one unit's alone: all that are due are taken for heavy, and
 * will be seen in their turns. */
void probe_presume(struct unit_probe *probe, struct turns_unit *units, uint64_t now_ns);

/* The same of those that are new and of a ring (gangs.h), beside another ring, before they launch.
 */
void probe_presume_rings(struct turns_unit *units, uint64_t now_ns);
