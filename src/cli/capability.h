// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What the GPUs of a machine can do: whether MIG can partition them, into what, and what to use
 * where it cannot. */

#include <stdio.h>

#include "cli/target.h"

/* One line for all GPUs of which the same can be said. */
void capability_print(const struct target *target, FILE *out);

/* The same as JSON, each GPU on its own. */
void capability_emit(const struct target *target, FILE *out);
