// SPDX-License-Identifier: Apache-2.0
#include "slice/sharepack.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/array.h"

void sharepack_deinit(struct sharepack *pack)
{
    free(pack->layouts);
    *pack = (struct sharepack)SHAREPACK_INIT;
}

/*
 * The slices of the next GPU, and how many GPUs in a row come out like it, 0 at the end: as long as
 * no size runs out, the largest slices that fit are the same. They are taken from `left`.
 */
static size_t fill(const struct sharepack_size *sizes, size_t n_sizes, unsigned whole, size_t *left,
                   unsigned *ret_counts)
{
    size_t n_gpus = SIZE_MAX;
    unsigned room = whole;
    bool is_any = false;

    for (size_t i = 0; i < n_sizes; i++) {
        const size_t n = room / sizes[i].size;

        ret_counts[i] = (unsigned)(n < left[i] ? n : left[i]);
        room -= ret_counts[i] * sizes[i].size;
        is_any = is_any || ret_counts[i];
        if (ret_counts[i] && left[i] / ret_counts[i] < n_gpus)
            n_gpus = left[i] / ret_counts[i];
    }
    for (size_t i = 0; i < n_sizes; i++)
        left[i] -= is_any ? ret_counts[i] * n_gpus : 0;
    return is_any ? n_gpus : 0;
}

static void start(const struct sharepack_size *sizes, size_t n_sizes, unsigned whole, size_t *left)
{
    for (size_t i = 0; i < n_sizes; i++) {
        assert(sizes[i].size && sizes[i].size <= whole);
        left[i] = sizes[i].n_slices;
    }
}

size_t sharepack_count(const struct sharepack_size *sizes, size_t n_sizes, unsigned whole)
{
    unsigned counts[SHAREPACK_SIZES_MAX];
    size_t left[SHAREPACK_SIZES_MAX], n, n_gpus = 0;

    assert(n_sizes <= SHAREPACK_SIZES_MAX);
    start(sizes, n_sizes, whole, left);
    while ((n = fill(sizes, n_sizes, whole, left, counts)) > 0)
        n_gpus += n;
    return n_gpus;
}

static bool is_part(const struct sharepack_layout *a, const struct sharepack_layout *b)
{
    for (size_t i = 0; i < SHAREPACK_NAMES_MAX; i++)
        if (a->counts[i] > b->counts[i])
            return false;
    return true;
}

/* Later GPUs have no more of any size left to take, so only they can be part of earlier ones. */
static int add(struct sharepack *pack, const struct sharepack_layout *layout)
{
    struct sharepack_layout *added;

    for (size_t i = 0; i < pack->n_layouts; i++)
        if (is_part(layout, &pack->layouts[i])) {
            pack->layouts[i].n_gpus += layout->n_gpus;
            return 0;
        }
    added = array_push(&pack->layouts, &pack->n_layouts, &pack->capacity, sizeof(*added));
    if (!added)
        return -ENOMEM;
    *added = *layout;
    return 0;
}

int sharepack_make(const struct sharepack_size *sizes, size_t n_sizes, unsigned whole,
                   struct sharepack *ret_pack)
{
    cleanup_sharepack struct sharepack pack = SHAREPACK_INIT;
    struct sharepack_layout layout = {.n_gpus = 0};
    size_t left[SHAREPACK_NAMES_MAX];
    int r = 0;

    assert(n_sizes <= SHAREPACK_NAMES_MAX);
    start(sizes, n_sizes, whole, left);
    while (r == 0 && (layout.n_gpus = fill(sizes, n_sizes, whole, left, layout.counts)) > 0)
        r = add(&pack, &layout);
    if (r < 0)
        return r;
    *ret_pack = pack;
    pack = (struct sharepack)SHAREPACK_INIT;
    return 0;
}
