// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Processes that ended while the driver was asked: what a reading shows of them is past.
 *
 * A reading may take as long as the driver hangs, or never arrive, and tenants decide how often
 * their processes end. So ENDINGS_MAX are kept; with more, any process may be one of them.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ENDINGS_MAX = 16384 };

struct ended_process;

struct endings {
    struct ended_process *items;
    size_t n, capacity;
    bool overflowed; /* not all are there */
};

#define ENDINGS_INIT  \
    {                 \
        .items = NULL \
    }

/* A reading begins. */
void endings_clear(struct endings *endings);

/* owner: whose process it was, by its address alone. */
void endings_add(struct endings *endings, uint32_t pid, const void *owner);

/* Whether it ended since, or may have. */
bool endings_have(const struct endings *endings, uint32_t pid, const void *owner);

void endings_deinit(struct endings *endings);
