// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Slices of given sizes onto GPUs, by first-fit-decreasing: one GPU after the other is filled, each
 * with the largest slices that still fit. It needs at most 11/9 of the fewest GPUs there could be,
 * and less than one more. GPUs that come out alike are one layout, so that the time depends on how
 * many sizes there are, and not on how many slices.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "slice/share.h"

enum { SHAREPACK_NAMES_MAX = 16, SHAREPACK_SIZES_MAX = SHARE_WHOLE };

/* Slices of one size, in parts of a GPU; `whole` below is how many parts a GPU has. */
struct sharepack_size {
    unsigned size; /* 1...whole */
    size_t n_slices;
};

struct sharepack_layout {
    unsigned counts[SHAREPACK_NAMES_MAX]; /* slices of one GPU, by the index of their size */
    size_t n_gpus;
};

struct sharepack {
    struct sharepack_layout *layouts;
    size_t n_layouts, capacity;
};

#define SHAREPACK_INIT   \
    {                    \
        .layouts = NULL, \
    }

void sharepack_deinit(struct sharepack *pack);
#define cleanup_sharepack cleanup(sharepack_deinit)

/* How many GPUs. The sizes are in descending order, at most SHAREPACK_SIZES_MAX. */
size_t sharepack_count(const struct sharepack_size *sizes, size_t n_sizes, unsigned whole);

/*
 * The same GPUs by their layouts, of at most SHAREPACK_NAMES_MAX sizes. A layout that is part of
 * another is not listed: its GPUs get the other one, with slices to spare. 0 or -ENOMEM.
 */
int sharepack_make(const struct sharepack_size *sizes, size_t n_sizes, unsigned whole,
                   struct sharepack *ret_pack);
