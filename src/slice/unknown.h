// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the driver does not tell about a machine, in words.
 *
 * A device is offered whenever it can be used, so most unknown facts only remove something: a
 * label, a hint, a size. Each is reported once, with the GPUs concerned, the reason, and what it
 * means for the node, so that nobody takes a missing value for zero.
 */

#include "base/problem.h"
#include "slice/inventory.h"

/* "memory": a fact's name in machine-readable output. */
const char *unknown_fact_name(enum fact fact);

/* Adds a sentence for each fact that is unknown, of the machine and of its usable GPUs. */
void unknown_report(const struct inventory *inventory, struct problems *problems);
