// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The name of the machine for the label nvidia.com/gpu.machine, from the file that
 * flags.gfd.machineTypeFile names, as gpu-feature-discovery reads it.
 */

#include "config/config.h"
#include "slice/label.h"

enum machinetype_outcome {
    MACHINETYPE_UNREADABLE = 1, /* the file cannot be read here: "unknown". Many machines lack that
                                   of the default, so it is no news */
};

/*
 * A valid label value. `product` is the machine's product name where that is known without the
 * file ("" = it is not): it stands for the file of the default, which is the kernel's.
 * 0 or MACHINETYPE_UNREADABLE, both with a value.
 */
int machinetype_read(const struct config *config, const char *product,
                     char ret_value[LABEL_VALUE_SIZE]);
