// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Where memory limits were verified on real hardware (`gpuslice verify`): by the generation of the
 * GPU and the branch of the driver. Elsewhere they are enforced alike, and nobody has seen it.
 *
 * The rows are those of doc/support.md; a test compares.
 */

#include "base/text.h"
#include "slice/inventory.h"

/* Adds "hopper with driver 580", of what was not verified and each once, separated by commas;
 * nothing if all was. A GPU or driver that is not known was not. */
void verified_add_missing(const struct inventory *machine, struct text *out);
