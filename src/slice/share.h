// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Exact division of one GPU. Nothing is lost and nothing invented: what does not divide evenly
 * goes, one unit each, to the lowest n. Compute is counted in permille, memory in whole MiB.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slice/inventory.h"

enum { SHARE_WHOLE = 1000 }; /* permille of a GPU */

#define SHARE_MIB (UINT64_C(1) << 20)

/* What slices can have of a GPU's memory: whole MiB of (total - reserved). 0 = unknown. */
uint64_t share_memory_mib(const struct gpu *gpu);

/* The nth of `parts` equal parts of whole, n from 0. The parts add up to whole. */
uint64_t share_equal(uint64_t whole, unsigned parts, unsigned n);

/* One of several unequal slices of a GPU, in the order of n. */
struct share {
    unsigned permille;
    uint64_t mem_mib; /* asked for; 0 = by share */
};

/*
 * Fills in the memory of those that ask for it by share: together they have permille/1000 of
 * memory_mib, rounded down. Memory unknown (0): they stay 0.
 */
void share_divide(struct share *shares, size_t n_shares, uint64_t memory_mib);

/* True when shares and memory, as share_divide would fill it in, are at most one GPU's. */
bool share_fits(const struct share *shares, size_t n_shares, uint64_t memory_mib);
