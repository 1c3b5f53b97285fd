// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Exact division of one device. The parts add up to the whole: remainders go, one unit each, to the
 * lowest n. Compute is counted in permille, memory in whole MiB.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slice/device.h"

enum { SHARE_WHOLE = 1000 }; /* permille of a device */

#define SHARE_MIB (UINT64_C(1) << 20)

/* The memory of a device available to slices: whole MiB of (total - reserved). 0 = unknown. */
uint64_t share_memory_mib(const struct device *device);

/* The nth of `parts` equal parts of whole, n from 0. The parts add up to whole. */
uint64_t share_equal(uint64_t whole, unsigned parts, unsigned n);

/* One of several unequal slices of a device, in the order of n. */
struct share {
    unsigned permille;
    uint64_t mem_mib; /* asked for; 0 = by share */
};

/*
 * Sets the memory of those without an explicit size: together they have permille/1000 of
 * memory_mib, rounded down. Memory unknown (0): they stay 0.
 */
void share_divide(struct share *shares, size_t n_shares, uint64_t memory_mib);

/* True if shares and memory, as set by share_divide, fit into one device; of memory each alone, if
 * it may be overcommitted. */
bool share_fits(const struct share *shares, size_t n_shares, uint64_t memory_mib, bool overcommits);
