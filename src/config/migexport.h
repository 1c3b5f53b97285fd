// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The layout of a machine as a label of a mig-parted file, as short as mig-parted writes it: GPUs
 * with the same layout share an entry, which is for all GPUs, or for all of some models, where that
 * says the same.
 */

#include <stddef.h>

#include "config/migconfig.h"
#include "slice/inventory.h"
#include "slice/migwant.h"

/* Adds to the entry what is wanted of such a board, sorted. 0 or -ENOMEM. */
int migexport_count(const struct mig_board *board, const struct mig_want *want,
                    struct migconfig_entry *entry);

/* GPUs that are unusable are left out; *ret_skipped tells how many. 0, or -ENOMEM. */
int migexport_make(const struct inventory *machine, const char *label,
                   struct migconfig **ret_config, size_t *ret_skipped);
