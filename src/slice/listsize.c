// SPDX-License-Identifier: Apache-2.0
#include "slice/listsize.h"

#include <string.h>

/* Every field has a tag of one byte: their numbers are below 16. */
enum { TAG = 1 };

static size_t varint(uint64_t value)
{
    size_t n = 1;

    while (value >>= 7)
        n++;
    return n;
}

static size_t delimited(size_t length)
{
    return TAG + varint(length) + length;
}

/* proto3 leaves out a number that is 0. */
static size_t topology(int numa_node)
{
    if (numa_node < 0)
        return 0;
    return delimited(delimited(numa_node > 0 ? TAG + varint((uint64_t)numa_node) : 0));
}

size_t listsize_of_id(const struct device *device, size_t id_length)
{
    return delimited(delimited(id_length) + delimited(strlen("Unhealthy")) +
                     topology(device->numa_node));
}

size_t listsize_of_slices(const struct device *device, unsigned n)
{
    const size_t length = strlen(device->uuid) + strlen("::");
    size_t sum = 0, digits = 1;

    for (uint64_t from = 0, to = 10; from < n; from = to, to *= 10, digits++)
        sum += (size_t)((to < n ? to : n) - from) * listsize_of_id(device, length + digits);
    return sum;
}
