// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One SliceProfile and the cluster: what its status says, and what is to be written next to
 * Karpenter's objects. Everything that a profile may come to is decided here.
 *
 * Of a profile that cannot be honoured as it is (invalid, MPS, a mixed pool) nothing is written,
 * and what was written for it before stays. A profile that has gone leaves nothing behind, except
 * that no node is replaced or deleted for it (poolplan.h). Pure.
 */

#include <stdint.h>

#include "controller/change.h"
#include "controller/planview.h"
#include "controller/poolplan.h"

enum { PROFILEPLAN_MESSAGE = 1024, PROFILEPLAN_REASON = 32 };

/* Why Karpenter's objects cannot be seen, which makes all profiles not Ready: "" = they can. */
struct profileplan_trouble {
    const char *reason;  /* "KarpenterMissing" */
    const char *message; /* "" = they can */
    bool has_pools;      /* NodePools and NodeClaims can be seen all the same, and there are no
                            NodeOverlays: what was written to pools can be taken back */
};

struct profileplan_setup {
    const struct planview *view;
    const char *name;
    const json_t *object; /* the profile; NULL = it has gone */
    struct profileplan_trouble trouble;
    const char *failure;        /* why the last write failed; "" = it did not */
    struct poolplan_count sent; /* writes of the pool that were sent */
    int64_t sent_generation;    /* ... for this generation of the profile */
};

struct profileplan {
    json_t *status; /* of the profile, without lastTransitionTime; NULL = it has gone. Owned */
    struct change change;
    char reason[PROFILEPLAN_REASON], message[PROFILEPLAN_MESSAGE]; /* of the condition Ready */
    const char *ready;                                             /* "True", "False" */
    struct poolplan_left left; /* what keeps one that has gone; its change is in `change` */
    bool is_waiting;           /* for time: plan again soon */
    size_t n_nodes, n_rolls, n_overlays; /* as in the status */
};

/* 0 or -ENOMEM. */
int profileplan_make(const struct profileplan_setup *setup, struct profileplan *ret_plan);

void profileplan_deinit(struct profileplan *plan);
#define cleanup_profileplan cleanup(profileplan_deinit)

/* `status` with the times of conditions: as `before` (the object's status, may be NULL) has them
 * where a condition has not changed, else `now`. NULL without memory. */
json_t *profileplan_timed(const json_t *status, const json_t *before, const char *now);

/* The count that a status has. */
void profileplan_counted(const json_t *object, struct poolplan_count *ret_count);

/* Of a status that was read: its observedGeneration. */
int64_t profileplan_generation(const json_t *object);
