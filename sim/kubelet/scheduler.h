// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The scheduler of a one-node cluster, which considers extended resources only: a pod that fits
 * runs, one that does not stays Pending with the scheduler's message.
 */

#include "manager.h"
#include "pod.h"

/*
 * Schedules every waiting pod that fits, in order of creation; the others get a message that says
 * what is missing. Returns true if any pod changed.
 */
bool scheduler_run(const struct manager *manager, const struct pods *pods);
