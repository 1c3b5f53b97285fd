// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What this process has of the driver: memory by its address, arrays, handles and contexts by their
 * handle. What is not here is none of ours, and goes to the driver as it is.
 *
 * A call that frees takes the entry out before the driver is called, and puts it back if that
 * failed: afterwards another thread may have got the same address.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum allocation_kind {
    ALLOCATION_MEMORY = 1, /* owner: its context */
    ALLOCATION_POOLED,     /* among the addresses of ALLOCATION_MEMORY; owner: its pool; 0: ended */
    ALLOCATION_ARRAY,      /* owner: its context */
    ALLOCATION_MIPMAP,     /* the same */
    ALLOCATION_PHYSICAL,   /* owner: struct physical */
    ALLOCATION_MAPPING,    /* of such; bytes: of addresses */
    ALLOCATION_CONTEXT,
    ALLOCATION_POOL,   /* that was created or imported, or is a device's own */
    ALLOCATION_MODULE, /* or library; owner: the context that it is in */
    /* That was loaded. What its variables take in a context: bytes at most, owner at least; and
     * grown_bytes: the rest at most. */
    ALLOCATION_LIBRARY,
    ALLOCATION_GRAPH, /* that was instantiated; owner: struct graph_need */
};

struct allocated {
    enum allocation_kind kind;
    int slot;   /* of the session */
    int device; /* as CUDA counts them */
    uint64_t key;
    uint64_t bytes;
    uint64_t grown_bytes; /* of a module: what the driver took beyond those */
    uint64_t owner;
    uint64_t serial; /* given by allocations_put */
};

/* False: without memory for it. An older entry of that key, whose end was not seen, is handed out;
 * its kind is 0 if there was none. */
bool allocations_put(const struct allocated *allocation, struct allocated *ret_older);

bool allocations_take(enum allocation_kind kind, uint64_t key, struct allocated *ret_allocation);
bool allocations_get(enum allocation_kind kind, uint64_t key, struct allocated *ret_allocation);

/* What is from that pool is from none any more; returns how many bytes. */
uint64_t allocations_disown(uint64_t pool);

/* False: it is gone, or another one. */
bool allocations_take_same(const struct allocated *allocation);

/* A copy of those that match; freed by the caller. NULL: there are none, or no memory. */
typedef bool allocations_match_fn(const struct allocated *allocation, const void *userdata);
struct allocated *allocations_list(allocations_match_fn *match, const void *userdata,
                                   size_t *ret_n);
