// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What slices cost, and the cheapest nodes for a number of them. */

#include <stddef.h>
#include <stdint.h>

enum { COST_SLICES_MAX = 100000 };

/* A type of node: how many slices pods can have on it, and what it costs by the hour. */
struct cost_offer {
    size_t n_slices; /* at least 1 */
    uint64_t micro;
};

/*
 * How many nodes of each offer have n_slices slices or more, for the least money, and of those the
 * fewest nodes. The search is exact. Sets ret_counts[n_offers]. 0; -ERANGE: more than
 * COST_SLICES_MAX, or no offer; -ENOMEM.
 */
int cost_cheapest(const struct cost_offer *offers, size_t n_offers, size_t n_slices,
                  size_t *ret_counts);
