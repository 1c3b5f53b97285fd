// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which sizes of slice a number of pods should be offered, when the sizes are to be few: each is a
 * name that people must know. A pod takes one slice of the least size that is enough for it, so
 * what counts is the GPUs that the rounded shares need (sharepack.h).
 *
 * Where there are at most SHARECHOICE_TRIES_MAX choices, each is tried. Of more, the first is the
 * one with the least sum of the rounded shares, found by dynamic programming; then one size is
 * exchanged for another as long as that saves a GPU, since sizes with a larger sum may fit into
 * GPUs better.
 */

#include "slice/sharepack.h"

enum { SHARECHOICE_TRIES_MAX = 100000 };

/* How many pods want so many thousandths of a GPU, of GPUs of one kind; none wants 0. */
struct sharedemand {
    size_t n_pods[SHARE_WHOLE + 1];
};

/* What a way to slice needs. */
struct sharefit {
    size_t n_gpus;
    uint64_t n_parts; /* sum of what pods get, in parts of a GPU ... */
    unsigned whole;   /* ... of which it has so many */
};

struct sharechoice {
    unsigned sizes[SHAREPACK_NAMES_MAX]; /* thousandths of a GPU, descending */
    size_t n_sizes;
};

/* Whole GPUs is 1 slice. Pods have several slices of one GPU where one is not enough. */
struct sharefit sharechoice_equal(const struct sharedemand *kinds, size_t n_kinds,
                                  unsigned n_slices);

/* Every share has a size of its own: no choice can do with less. */
struct sharefit sharechoice_exact(const struct sharedemand *kinds, size_t n_kinds);

/*
 * n_names sizes, the same for GPUs of all kinds; fewer where there are not so many different
 * shares. 0 or -ENOMEM.
 */
int sharechoice_make(const struct sharedemand *kinds, size_t n_kinds, size_t n_names,
                     struct sharechoice *ret_choice);

/* The slices of these sizes that pods of one kind of GPU take: ret_sizes[n_sizes], for sharepack.
 * The largest size is enough for every pod. */
void sharechoice_round(const struct sharechoice *choice, const struct sharedemand *demand,
                       struct sharepack_size *ret_sizes);

struct sharefit sharechoice_fit(const struct sharechoice *choice, const struct sharedemand *kinds,
                                size_t n_kinds);
