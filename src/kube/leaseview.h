// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A Lease as somebody sees it who does not trust the clocks of others: it counts as abandoned when
 * it has not changed for its duration, counted on our own clock from when we first saw it so.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define LEASEVIEW_API "/apis/coordination.k8s.io/v1"

/* All zero = nothing was seen. */
struct leaseview {
    json_t *spec; /* when it last changed; NULL = not read yet */
    uint64_t since_ms;
};

void leaseview_deinit(struct leaseview *view);

/* The Lease was read or written; NULL has an empty spec. Time is monotonic. */
void leaseview_see(struct leaseview *view, const json_t *lease, uint64_t now_ms);

/* Who holds it; "" = nobody, or it was not read yet. Borrowed until the next look. */
const char *leaseview_holder(const struct leaseview *view);

/* By the holder's own duration, as it says how often it renews; default_s without one. False before
 * anything was seen. */
bool leaseview_is_abandoned(const struct leaseview *view, unsigned default_s, uint64_t now_ms);
