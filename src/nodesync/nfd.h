// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Whether node-feature-discovery does what our NodeFeature (nodefeature.h) asks for.
 *
 * Its annotation outlives an nfd-master that died, and then nobody updates what it set. NFD follows
 * us in a label once that label is on the Node, set by NFD, with our value. A label that keeps this
 * value after we changed ours shows that NFD lags; the caller decides when that is too long. From
 * then on NFD counts as silent, until it writes anything on the Node. A label that NFD takes from
 * another NodeFeature never followed us and shows no lag: it is lost to that one.
 *
 * Pure: no clock and no I/O.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "nodesync/message.h"

struct nfd {
    size_t n_served; /* our labels that NFD has set */
    bool was_here;   /* it has been active on this Node */
    bool lags;
    bool is_silent;
    json_t *followed; /* {label: value}; NULL = none yet */
    json_t *lost;     /* {label: value} that NFD takes from other sources; NULL = none yet */
    char *trace;      /* of its last write to the Node, when it became silent */
};

/*
 * Evaluates the Node. state: what we publish now. found: {label: value}, the content of our
 * NodeFeature when this program started; NULL = nothing. Without memory nothing changes.
 */
void nfd_update(struct nfd *nfd, const json_t *node, const struct sync_state *state,
                const json_t *found);

/* It lags for too long. */
void nfd_give_up(struct nfd *nfd, const json_t *node);

/* {label: value} that a silent NFD left behind with our value; NULL = it is not silent. Borrowed
 * until the next update. */
const json_t *nfd_left(const struct nfd *nfd);

/* {label: value} that NFD takes from a NodeFeature other than ours; NULL = none, or NFD is silent.
 * Borrowed until the next update. */
const json_t *nfd_lost(const struct nfd *nfd);

void nfd_deinit(struct nfd *nfd);
