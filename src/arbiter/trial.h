// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which plan is best for a mix of units, by measured progress: no model knows it. Launch-bound
 * programs fill each other's gaps when all run free; short kernels that are waited for lose most of
 * the device to switches then.
 *
 * A trial lets each plan be in force for a while and counts what of every active unit is done. The
 * progress of a unit is its rate by its best rate (pace.h, or that of
 * its turns alone, or the best within the trial), never more
 * than 1, and a plan's score is their sum. Turns have to be better than free by TRIAL_BETTER_PPM,
 * or be no worse in sum and bring up a unit that is below its share; bounded turns have to be
 * better than turns by the same, or no worse in sum while a unit that takes no turns gains by
 * TRIAL_GAIN_PPM. What full units have in turns is taken together and divided by
 * their shares: one turn more or less is a tenth of what one of them has in a phase. That adds a
 * quarter at most to what one of them has, since claims may be lies, and nothing of who is excused
 * from turns. Where heavy
 * units leave no gaps, running free has nothing to offer and is not tried. No plan is taken that
 * brings a unit below both its share and what it has when all run free.
 *
 * A mix is known by a number of its owner's. Outcomes are kept for some mixes, as what comes and
 * goes comes again; they are tried again after a while, the longer the more often they were
 * confirmed. A trial whose mix changes is dropped. One that began while all ran free, and found
 * queues of that to the end, has measured little else: then they go on to do so.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arbiter/turnsunit.h"

enum {
    TRIAL_PHASE_MS = 200,      /* each plan is counted for so long, ... */
    TRIAL_PHASE_MOST_MS = 500, /* ... or until each unit has done TRIAL_COMMANDS */
    TRIAL_COMMANDS = 40,
    TRIAL_SETTLE_MS = 30,       /* not counted: queues fill, and earlier work is done ... */
    TRIAL_SETTLE_MOST_MS = 500, /* ... but not for longer than this */
    TRIAL_BETTER_PPM = 30000,   /* by which gating has to pay */
    TRIAL_GAIN_PPM = 50000,
    TRIAL_COMMANDS_LEAST = 6,    /* in each plan; a unit with fewer has no say */
    TRIAL_STEADY_MS = 100,       /* a mix is tried when it has lasted so long */
    TRIAL_AGAIN_S = 10,          /* an outcome is good for so long, twice when confirmed, ... */
    TRIAL_AGAIN_MOST_S = 60,     /* ... up to this */
    TRIAL_PAUSE_MS = 1000,       /* after a trial that was dropped; each time twice ... */
    TRIAL_PAUSE_MOST_MS = 16000, /* ... up to this */
    TRIAL_MIXES = 16,
};

struct trial_outcome {
    uint64_t mix; /* 0: none */
    enum turns_plan plan;
    bool is_decided; /* or too little was done */
    uint64_t decided_ns, again_ns, wait_ns, used_ns;
    double scores[TURNS_N_PLANS];
};

struct trial {
    bool is_on;
    size_t n_phase; /* in the order in which they are tried */
    enum turns_plan phase;
    bool tries[TURNS_N_PLANS];
    bool may_skip_free; /* it is tried only where turns leave somebody less than his share */
    uint64_t began_ns, phase_ns; /* when the trial and the phase began */
    bool is_mixed;               /* queues from before the trial were there while it counted */
    uint64_t counted_ns[TURNS_N_PLANS];
    bool is_crowd;                  /* of the mix */
    uint64_t mix, mix_ns;           /* the last one, and since when */
    uint64_t earliest_ns, pause_ns; /* of the next one, after some that were dropped */
    uint64_t n_trials;
    uint64_t now_ns;
    struct trial_outcome outcomes[TRIAL_MIXES];
};

struct trial_mix {
    uint64_t number;                /* not 0 */
    bool is_triable[TURNS_N_PLANS]; /* a mix has a trial if there are several to choose from */
    bool may_be_unfair; /* free is tried, too, where turns leave a heavy unit less than its share:
                           light ones with much to do take what they can get beside them */
    bool is_deferred;   /* no trial now */
    size_t n_heavy;
    bool is_crowd; /* no heavy ones, and light ones that together may fill the device: all take
                      turns if that is better */
    enum turns_plan preset; /* until there is an outcome, or where there can be none */
};

/* The plan for now. ns: since the last call, in which units launched n_new. */
enum turns_plan trial_run(struct trial *trial, struct turns_unit *units,
                          const struct trial_mix *mix, uint64_t ns, uint64_t now_ns);

/* Of the mix of the last call; NULL if there is none. */
const struct trial_outcome *trial_find(const struct trial *trial);
