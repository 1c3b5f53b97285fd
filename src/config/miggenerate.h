// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A mig-parted file for a machine, with the labels that mig-parted's generate-config makes:
 * all-disabled, all-enabled, all-balanced, and one for each profile with as many as fit. On a
 * machine with several models each entry is for the models that it names.
 */

#include "config/migconfig.h"
#include "slice/inventory.h"

enum miggenerate_outcome {
    MIGGENERATE_NO_MIG = 1, /* no GPU can be partitioned */
};

/* 0, MIGGENERATE_NO_MIG, or -ENOMEM. */
int miggenerate_make(const struct inventory *machine, struct migconfig **ret_config);
