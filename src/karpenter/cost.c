// SPDX-License-Identifier: Apache-2.0
#include "karpenter/cost.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* The best for so many slices: what it costs, and the offer of its last node. */
struct best {
    uint64_t micro;
    size_t n_nodes, offer;
};

static bool is_better(const struct best *a, const struct best *b)
{
    return a->micro != b->micro ? a->micro < b->micro : a->n_nodes < b->n_nodes;
}

static size_t rest_of(size_t n, const struct cost_offer *offer)
{
    return n > offer->n_slices ? n - offer->n_slices : 0;
}

static struct best choose(const struct cost_offer *offers, size_t n_offers, const struct best *best,
                          size_t n)
{
    struct best chosen = {.micro = UINT64_MAX};

    for (size_t i = 0; i < n_offers; i++) {
        const struct best *rest = &best[rest_of(n, &offers[i])];
        const struct best with = {rest->micro + offers[i].micro, rest->n_nodes + 1, i};

        if (is_better(&with, &chosen))
            chosen = with;
    }
    return chosen;
}

int cost_cheapest(const struct cost_offer *offers, size_t n_offers, size_t n_slices,
                  size_t *ret_counts)
{
    cleanup_free struct best *best = NULL;

    if (n_slices > COST_SLICES_MAX || !n_offers)
        return -ERANGE;
    best = calloc(n_slices + 1, sizeof(*best));
    if (!best)
        return -ENOMEM;
    for (size_t n = 1; n <= n_slices; n++)
        best[n] = choose(offers, n_offers, best, n);
    memset(ret_counts, 0, n_offers * sizeof(*ret_counts));
    for (size_t n = n_slices; n > 0; n = rest_of(n, &offers[best[n].offer]))
        ret_counts[best[n].offer]++;
    return 0;
}
