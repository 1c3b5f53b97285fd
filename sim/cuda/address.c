// SPDX-License-Identifier: Apache-2.0
#include "cuda/address.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"

/* Sorted by address; they do not overlap. */
static struct range **ranges;
static size_t n_ranges, capacity;
static uint64_t last_id;

/* The position of the first range that begins behind an address. */
static size_t position(CUdeviceptr address)
{
    size_t low = 0, high = n_ranges;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (ranges[middle]->base <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct range *address_add(const struct range *range)
{
    struct range *copy = malloc(sizeof(*copy));
    size_t at = position(range->base);

    if (!copy || !array_push(&ranges, &n_ranges, &capacity, sizeof(*ranges))) {
        free(copy);
        return NULL;
    }
    memmove(ranges + at + 1, ranges + at, (n_ranges - 1 - at) * sizeof(*ranges));
    ranges[at] = copy;
    *copy = *range;
    copy->id = ++last_id;
    return copy;
}

struct range *address_find(CUdeviceptr address)
{
    size_t at = position(address);

    if (at == 0 || address - ranges[at - 1]->base >= ranges[at - 1]->size)
        return NULL;
    return ranges[at - 1];
}

struct range *address_find_begin(CUdeviceptr address)
{
    struct range *range = address_find(address);

    return range && range->base == address ? range : NULL;
}

struct range *address_next(CUdeviceptr address)
{
    size_t at = address ? position(address - 1) : 0;

    return at < n_ranges ? ranges[at] : NULL;
}

void address_free(struct range *range)
{
    size_t at = position(range->base) - 1;

    range->release(range);
    memmove(ranges + at, ranges + at + 1, (n_ranges - 1 - at) * sizeof(*ranges));
    n_ranges--;
    free(range);
}

void address_end_context(CUcontext context)
{
    CUdeviceptr next = 0;

    for (struct range *range = address_next(next); range; range = address_next(next)) {
        next = range->base + 1;
        if (range->context == context)
            address_free(range);
    }
}
