// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What of a mig-parted file does not fit a machine. */

#include "config/migconfig.h"
#include "slice/inventory.h"

/*
 * A label is often for another model of GPU than this machine has, as most of NVIDIA's own are:
 * that is a note, and a warning only if no label with MIG on fits. A profile that there is, but not
 * as often as the label wants it, and a GPU that is not there, are warnings.
 */
void miglint_machine(const struct migconfig *config, const struct inventory *machine,
                     struct problems *problems);
