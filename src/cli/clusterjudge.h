// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What follows from a cluster's facts (clusterfacts.h): for each group of nodes which guarantees of
 * ours hold, and what is wrong. Pure.
 *
 * Adds to each group `guarantees`: memory, compute, scheduling, scaling, mig -> {answer: "yes",
 * "no" or "unknown", why}. Problems have the object they are about as their path.
 */

#include <jansson.h>

#include "base/problem.h"

void clusterjudge(json_t *facts, struct problems *problems);
