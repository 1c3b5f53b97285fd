// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Does node-feature-discovery do what our NodeFeature (nodefeature.h) tells it?
 *
 * Its annotation outlives an nfd-master that has died, and then nobody changes what it had set. NFD
 * follows us in a label once that stood on the Node, served by NFD, with the value that we told. A
 * label that goes on to stand there with that value after we told another one shows that NFD lags;
 * whoever waits for it decides when that is too long. From then on NFD is silent, until it writes
 * anything on the Node. A label that NFD takes from another NodeFeature never followed us, and
 * shows no lag: it is lost to that one.
 *
 * Pure: no clock and no I/O.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "nodesync/message.h"

struct nfd {
    size_t n_served; /* of our labels, by NFD */
    bool was_here;   /* it has been at work on this Node */
    bool lags;
    bool is_silent;
    json_t *followed; /* {label: value}; NULL = none yet */
    json_t *lost;     /* {label: value} that NFD takes from others than us; NULL = none yet */
    char *trace;      /* of its last deed on the Node, as it was when it fell silent */
};

/*
 * Looks at the Node. state: what we tell now. found: {label: value}, what our NodeFeature said when
 * this program came; NULL = nothing. For want of memory all stays as it was.
 */
void nfd_update(struct nfd *nfd, const json_t *node, const struct sync_state *state,
                const json_t *found);

/* It lags too long. */
void nfd_give_up(struct nfd *nfd, const json_t *node);

/* {label: value} that a silent NFD left behind, as we had told it; NULL = it is not silent.
 * Borrowed until the next look. */
const json_t *nfd_left(const struct nfd *nfd);

/* {label: value} that NFD takes from another NodeFeature than ours; NULL = none, or NFD is silent.
 * Borrowed until the next look. */
const json_t *nfd_lost(const struct nfd *nfd);

void nfd_deinit(struct nfd *nfd);
