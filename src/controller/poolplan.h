// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The NodePool of one profile: one of its own, which is ours, or one that somebody else made and
 * that the profile names.
 *
 * A change of a NodePool's template makes Karpenter replace its nodes. In a pool of ours that is
 * what a change of the profile means. In somebody else's it needs their consent as long as the pool
 * has nodes: the annotation gpuslice.dev/consent with the token that the profile's status shows, or
 * to take away what was added "withdraw-" and the profile's name.
 *
 * A change that somebody makes to what we wrote is undone, so that a pool is kept:
 * POOLPLAN_WRITES_MAX times in all for one content, and then no more. Each of these writes is
 * counted in the profile's status before it is sent, so that neither another leader nor a lost
 * answer makes them more.
 *
 * A pool of ours whose profile has gone starts no more nodes (its limits are 0, which replaces
 * nothing), and is deleted after its last one: Karpenter deletes the nodes of a pool that is
 * deleted. Pure.
 */

#include "base/problem.h"
#include "controller/change.h"
#include "controller/planview.h"
#include "karpenter/promise.h"

#define POOLPLAN_CONSENT  "gpuslice.dev/consent"
#define POOLPLAN_WITHDRAW "withdraw-"
#define POOLPLAN_RETIRED  "gpuslice.dev/retired"
#define POOLPLAN_TOKEN    "gpuslice.dev/applied-hash" /* of a pool of ours: what it was made of */

enum { POOLPLAN_TOKEN_SIZE = 13, POOLPLAN_WRITES_MAX = 3 };

enum poolplan_state {
    POOLPLAN_KEPT,
    POOLPLAN_CHANGES, /* change is to be written */
    POOLPLAN_COUNTS,  /* first the status has to count it */
    POOLPLAN_CONSENT_MISSING,
    POOLPLAN_REVERTED, /* by somebody, too often */
    POOLPLAN_TAKEN,    /* somebody else's has the name that ours would have, or another profile has
                          this one */
    POOLPLAN_MISSING,  /* the profile names a pool that is not there */
    POOLPLAN_UNFIT,    /* what it may start does not fit the profile */
};

/* How often the content `token` was written, as the profile's status has it. */
struct poolplan_count {
    char token[POOLPLAN_TOKEN_SIZE];
    unsigned writes;
};

struct poolplan {
    enum poolplan_state state;
    struct poolplan_count count;   /* as it is to be in the status */
    char owner[SLICEPROFILE_NAME]; /* TAKEN: the other profile; "" = no profile's */
    size_t n_rolls;                /* nodes that Karpenter replaces, once the pool is written */
    struct change change;
};

struct poolplan_setup {
    const struct planview *view;
    const struct sliceprofile *profile;
    const struct promises *promises;
    struct poolplan_count counted; /* by the status */
    unsigned n_sent;               /* of them, those that were sent already */
    struct problems *problems;     /* what is wrong with the pool for this profile */
};

/* 0 or -ENOMEM. */
int poolplan_make(const struct poolplan_setup *setup, struct poolplan *ret_plan);

/* What is left of a profile in pools that are no longer its own. */
struct poolplan_left {
    char pool[CHANGE_NAME_SIZE]; /* the first that cannot be left yet; "" = none */
    bool is_ours;                /* it goes with its last node; else consent is missing */
    size_t n_nodes;
    struct change change;
};

/* profile: NULL = it has gone. 0 or -ENOMEM. */
int poolplan_leave(const struct planview *view, const char *name,
                   const struct sliceprofile *profile, struct poolplan_left *ret_left);
