// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Slices of an offer that nobody may have before pods end that hold them otherwise, such as under
 * the name of an earlier configuration (plugin/formerholds.h). They are announced as Unhealthy, and
 * how many there are is reported once, in the log and as an event.
 */

#include <stdbool.h>
#include <stddef.h>

#include "node/facts.h"
#include "node/publisher.h"

/* All zero = nothing was reported. */
struct formernames {
    size_t n_reported; /* slices */
};

/* Looks again at what pods hold of an offer, in force or not yet. `changed` (one per device; NULL
 * is allowed) is set for those of which something else is to be announced; the others keep theirs.
 * True if any did. */
bool formernames_refresh(struct formernames *names, const struct facts *facts,
                         struct publisher *publisher, struct offer *offer, bool *changed);
