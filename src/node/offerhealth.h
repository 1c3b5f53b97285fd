// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The health of an offer's devices, from what is known of them (facts.health). Each change is
 * reported once: in the log, and as an event on the Node and on the pods that hold the device. So
 * is a device that the first offer begins with as Unhealthy, such as one with a fault that an
 * earlier agent saw: nothing would tell why else.
 */

#include <stdbool.h>

#include "node/facts.h"
#include "node/publisher.h"

/* For an offer that is not in force yet: facts.offer is the one before, or NULL. */
void offerhealth_begin(const struct facts *facts, struct publisher *publisher, struct offer *next);

/* For the one in force; `changed` (one per device) marks those that became Healthy or Unhealthy.
 * True if any did. */
bool offerhealth_refresh(const struct facts *facts, struct publisher *publisher, bool *changed);
