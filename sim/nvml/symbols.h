// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which entry points dlsym finds. A real library of an older driver lacks those that came later,
 * and clients decide by that (nvidia-ml-py, go-nvml, nvitop): an entry point that is there and
 * answers FUNCTION_NOT_FOUND is something else to them. So this library takes out of its own symbol
 * table, in memory, what the machine's driver does not have and what a fault names as missing. Who
 * has looked a name up before keeps it, and is answered FUNCTION_NOT_FOUND.
 */

#include "nvml/state.h"

/* Makes the table of this library fit the machine, whose driver is of that branch, and its faults
 * as they are now; the names of an earlier machine return. */
void symbols_apply(const struct state *state, unsigned branch);

/* True if the driver of that branch lacks the entry point. */
bool symbols_is_too_new(const char *name, unsigned branch);
