// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The NodeOverlays of one profile: what Karpenter is to believe, kept as the profile says.
 *
 * An overlay of an earlier hash stays as long as a NodeClaim or a NodePool's template has that
 * hash: while nodes are replaced, Karpenter needs the numbers of both. What others made is not
 * touched, even where its name is in the way. New ones come before old ones go. Pure.
 */

#include "base/problem.h"
#include "controller/change.h"
#include "controller/planview.h"
#include "karpenter/promise.h"

enum { OVERLAYPLAN_SILENCE_S = 30 };

enum overlayplan_state {
    OVERLAYPLAN_HEEDED,  /* Karpenter says of each that it is Ready */
    OVERLAYPLAN_CHANGES, /* something is to be written */
    OVERLAYPLAN_WAITS,   /* for what Karpenter says */
    OVERLAYPLAN_SILENT, /* it has said nothing for OVERLAYPLAN_SILENCE_S: its feature gate is off */
    OVERLAYPLAN_REJECTED, /* it says No */
    OVERLAYPLAN_TAKEN,    /* somebody else's has the name of one of ours */
};

struct overlayplan {
    enum overlayplan_state state;
    char name[CHANGE_NAME_SIZE]; /* of the overlay that the state is about */
    const char *message;         /* Karpenter's, of one that was rejected; borrowed from the view */
    size_t n_overlays;           /* ours, that are there */
    json_t *all;                 /* what there will be, with strangers' own; owned */
    struct change change;        /* the next one */
};

/* 0 or -ENOMEM. */
int overlayplan_make(const struct planview *view, const struct sliceprofile *profile,
                     const struct promises *promises, struct overlayplan *ret_plan);

/* The profile is gone: so are its overlays. The number of those left. */
size_t overlayplan_leave(const struct planview *view, const char *profile,
                         struct change *ret_change);

void overlayplan_deinit(struct overlayplan *plan);
#define cleanup_overlayplan cleanup(overlayplan_deinit)
