// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * How one GPU of the running machine is partitioned, as words that processes share.
 *
 * An instance is one word: its profile, its place, and how many there were before it, which
 * distinguishes handles of an instance that is gone. So each change is one store, and a process
 * that dies in between leaves a state that a driver could be in. Readers take no lock.
 */

#include <stdatomic.h>

#include "nvml/migplace.h"

enum { MIGWORDS_INSTANCES = MIGPLACE_IDS, MIGWORDS_COMPUTES = MIG_INSTANCES_MAX };

#define MIGWORDS_NONE UINT32_MAX /* where a compute instance may be named: the GPU instance */

struct migwords {
    atomic_uint mode;
    atomic_uint instances[MIGWORDS_INSTANCES]; /* by id; 0: none since the machine started */
    atomic_uint computes[MIGWORDS_INSTANCES][MIGWORDS_COMPUTES];
};

/* As it is now; without instances while the mode is off. Whatever is in the words, it is within
 * the board. */
void migwords_read(const struct migwords *words, const struct mig_board *board,
                   struct mig_layout *ret_layout);

/* All of it, into words that are zero. */
void migwords_fill(struct migwords *words, const struct mig_layout *layout);

/* Returns false if there is no such instance; else how many there were before it in its place. */
bool migwords_find(const struct migwords *words, uint32_t instance, uint32_t compute,
                   uint32_t *ret_generation);

/* The changes. Compute instances go before their GPU instance. */
void migwords_set_mode(struct migwords *words, bool current, bool pending);
void migwords_put(struct migwords *words, uint32_t instance, uint32_t compute, uint32_t profile,
                  uint32_t start);
void migwords_remove(struct migwords *words, uint32_t instance, uint32_t compute);

/* What a reset of the GPU does: the pending mode becomes current, and instances go. */
void migwords_reset(struct migwords *words);
