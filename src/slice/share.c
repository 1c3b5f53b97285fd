// SPDX-License-Identifier: Apache-2.0
#include "slice/share.h"

uint64_t share_memory_mib(const struct device *device)
{
    if (device->mem_reserved_bytes >= device->mem_total_bytes)
        return 0;
    return (device->mem_total_bytes - device->mem_reserved_bytes) / SHARE_MIB;
}

uint64_t share_equal(uint64_t whole, unsigned parts, unsigned n)
{
    return whole / parts + (n < whole % parts);
}

/* whole * permille / 1000, rounded down; a MiB count is below 2^44, so the product fits. */
static uint64_t part_of(uint64_t whole, unsigned permille)
{
    return whole * permille / SHARE_WHOLE;
}

static unsigned permille_by_share(const struct share *shares, size_t n_shares)
{
    unsigned sum = 0;

    for (size_t i = 0; i < n_shares; i++)
        if (shares[i].mem_mib == 0)
            sum += shares[i].permille;
    return sum;
}

void share_divide(struct share *shares, size_t n_shares, uint64_t memory_mib)
{
    uint64_t left = part_of(memory_mib, permille_by_share(shares, n_shares));

    for (size_t i = 0; i < n_shares; i++)
        if (shares[i].mem_mib == 0)
            left -= part_of(memory_mib, shares[i].permille);
    for (size_t i = 0; i < n_shares; i++) {
        if (shares[i].mem_mib > 0)
            continue;
        shares[i].mem_mib = part_of(memory_mib, shares[i].permille) + (left > 0);
        left -= left > 0;
    }
}

bool share_fits(const struct share *shares, size_t n_shares, uint64_t memory_mib, bool overcommits)
{
    uint64_t mem_left = memory_mib;
    unsigned permille_left = SHARE_WHOLE;

    for (size_t i = 0; i < n_shares; i++) {
        if (shares[i].permille > permille_left)
            return false;
        permille_left -= shares[i].permille;
        if (memory_mib > 0 && shares[i].mem_mib > mem_left)
            return false;
        if (memory_mib > 0 && !overcommits)
            mem_left -= shares[i].mem_mib;
    }
    return overcommits || part_of(memory_mib, permille_by_share(shares, n_shares)) <= mem_left;
}
