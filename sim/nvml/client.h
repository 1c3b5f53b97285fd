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

/* This process's slot for a GPU; -ESRCH if it has no memory of it. */
int client_slot(const struct state *state, unsigned gpu);

/* timeshare_publish of a GPU's time, by this process. */
bool client_publish(struct state *state, unsigned gpu, uint64_t number,
                    const struct timeslices *record);
