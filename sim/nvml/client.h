// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * This process as a user of simulated GPUs: the memory that it has of each. What it has is one slot
 * of the running machine's processes per GPU, so NVML shows it; it is free again when the process
 * ends, however it ends.
 */

#include <stdint.h>

#include "nvml/state.h"

/* Adds bytes, if the GPU has room: -ENOMEM if not, -ENOSPC if there are too many processes. */
int client_charge(struct state_file *file, unsigned gpu, uint64_t bytes);

/* Gives bytes back; with none left, the process is no longer listed. */
void client_refund(struct state_file *file, unsigned gpu, uint64_t bytes);
