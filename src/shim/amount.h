// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Numbers of bytes. What is too small ends at 0, what is too large at AMOUNT_MOST: a sum never
 * starts from 0 again, wherever its parts come from.
 */

#include <stdint.h>

/* More is on no device, and in nothing that is loaded there. */
#define AMOUNT_MOST (UINT64_C(1) << 48)

static inline uint64_t amount_smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t amount_larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* At least 0. */
static inline uint64_t amount_minus(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* Beyond AMOUNT_MOST it stays there. */
static inline uint64_t amount_add(uint64_t a, uint64_t b)
{
    return a > AMOUNT_MOST || b > AMOUNT_MOST - a ? AMOUNT_MOST : a + b;
}

static inline uint64_t amount_multiply(uint64_t a, uint64_t b)
{
    uint64_t product;

    return __builtin_mul_overflow(a, b, &product) || product > AMOUNT_MOST ? AMOUNT_MOST : product;
}
