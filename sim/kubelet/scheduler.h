// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The scheduler of a cluster of one node, which looks at extended resources alone: what fits runs,
 * what does not stays Pending with the scheduler's sentence.
 */

#include "manager.h"
#include "pod.h"

/*
 * Schedules every waiting pod that fits, in order of creation; the others get the message that says
 * what is missing. Returns true when any pod changed.
 */
bool scheduler_run(const struct manager *manager, const struct pods *pods);
