// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A container's part in the turns of a device: a unit of its own, or together with others that it
 * exchanges handles with (exchanges.h), which are one unit then.
 *
 * Each has a unit for as long as it has a part. In a group that of its lead stands for all: it has
 * the sum of their shares, work in flight while one of them has, and its gate is each one's gate;
 * the units of the others are idle. What the group is charged for is charged to that unit, as is
 * what it owes when somebody leaves.
 *
 * What a group received and borrowed is shown for each by what it launched since that was last
 * looked at, what it was entitled to and lent by its share; turns are everybody's.
 */

#include <stddef.h>
#include <stdint.h>

#include "arbiter/turns.h"

/* Of turns_view, what is counted. */
struct party_account {
    uint64_t entitled_ns, received_ns, borrowed_ns, lent_ns, n_turns, n_overdue;
};

struct party {
    struct turns_unit *unit;
    uint32_t share_ppm;
    struct party *lead;         /* itself if it is alone */
    struct party *next;         /* of the same lead, which is the first one */
    struct turns_sample claims; /* its own, the last ones */
    struct turns_sample told;   /* of its unit: of all that have it as their lead */
    struct party_account seen;  /* of its unit, that is divided */
    struct party_account moved; /* to it, from the unit's own: differences, which may run over */
    uint64_t n_settled;         /* of n_launched */
};

/* Into an empty one, which stays where it is. As turns_add. */
int party_begin(struct party *party, struct turns *turns, uint32_t share_ppm);

/* Those it was the lead of are alone. */
void party_end(struct party *party);

/* party is alone. */
void party_join(struct party *party, struct party *lead);

/* Is alone from then on; a lead's others are, too. */
void party_leave(struct party *party);

size_t party_count(const struct party *party);

/* What its processes claim now; of all, and then party_tell of all. Its counters only go on. */
void party_sample(struct party *party, const struct turns_sample *claims);
void party_tell(struct party *party);

/* Of what a group may have in flight each has its part. */
struct turns_gate party_gate(const struct party *party);

/* Divides what the group received until now. */
void party_settle(struct party *party);

/* Its own counters; the rest is the group's. */
void party_view(struct party *party, struct turns_view *ret_view);
