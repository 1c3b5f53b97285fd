// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The page of claims of one process (limits/claims.h): a sealed memfd, which the process writes and
 * the arbiter only reads.
 *
 * What stands there may change at any moment and may be anything: each word is read once, by
 * limits_load, and words are compared and subtracted, nothing else. Counters of the process that
 * run backwards count as none.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "limits/claims.h"

/* What a process or several of them claimed of one device since they are known. */
struct claimspage_sum {
    uint64_t n_launched, n_done, waited_ns, n_late;
    uint64_t n_passed; /* fences */
    uint64_t waits[CLAIMS_WAIT_BINS];
    /* Now: */
    uint32_t n_waiting; /* processes with threads at the gate */
    bool is_in_flight;  /* some work of theirs */
};

/* The counters of one device as they were read last. */
struct claimspage_past {
    uint64_t n_launched, n_done, waited_ns;
    uint32_t n_late, n_passed, waits[CLAIMS_WAIT_BINS];
    uint32_t n_awaits;
    uint64_t awaits_ns;   /* when that changed */
    uint32_t n_exchanged; /* changes of what the process names (exchanges.h) */
};

/* A thread that waits longer than this for something without a fence is stopped, or is none. */
enum { CLAIMSPAGE_AWAIT_MS = 50 };

struct claimspage {
    struct claimspage *next;     /* of the same container */
    const struct claims *claims; /* NULL = there is no page */
    int fd;                      /* for the process */
    struct claimspage_past *pasts;
    size_t n_devices; /* of the container: as many pasts */
    uint64_t number;  /* of this arbiter's pages, from 1 on */
};

#define CLAIMSPAGE_INIT          \
    {                            \
        .claims = NULL, .fd = -1 \
    }

/* Into an empty one. 0, or a negative errno with a sentence: it is as before. */
int claimspage_make(struct claimspage *page, size_t n_devices, struct error *err);

void claimspage_deinit(struct claimspage *page);

/* Adds to the sum what became of the counters of a device since the last time, and what is now.
 * device: below n_devices. */
void claimspage_read(struct claimspage *page, size_t device, uint64_t now_ns,
                     struct claimspage_sum *sum);

/* The bin of waits below which permille of them lie; CLAIMS_WAIT_BINS: there were none. */
unsigned claimspage_find_bin(const struct claimspage_sum *sum, unsigned permille);

/* Waits of the bin were shorter; the last one has no bound, and counts as the double of the one
 * before. Microseconds. */
uint64_t claimspage_bin_us(unsigned bin);
