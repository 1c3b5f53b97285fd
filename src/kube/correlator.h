// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What was said about whom, and how often: the book of the events recorder. It has no clock and
 * sends nothing.
 *
 * The same sentence about the same object is one entry with a count. An entry is written when it is
 * new; what is added later is written with it, a few times at once and then seldom, and all entries
 * together are written at a bounded rate. Too many different sentences about one thing become one
 * entry of the newest. A full book forgets what was written longest ago; what is not written yet
 * stays, and nothing new comes in.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

enum {
    CORRELATOR_ENTRIES_MAX = 128,
    CORRELATOR_SENTENCES_MAX = 8, /* about one object for one reason */
    CORRELATOR_BURST = 3, /* writes of an entry at once, then one each CORRELATOR_REFILL_MS */
    CORRELATOR_REFILL_MS = 10000,
    CORRELATOR_ALL_BURST =
        30, /* writes of all entries at once, then one each CORRELATOR_ALL_REFILL_MS */
    CORRELATOR_ALL_REFILL_MS = 500,
    CORRELATOR_MESSAGE_MAX = 1024, /* the API's limit */
};

#define CORRELATOR_COMBINED "(combined from similar events): "

struct correlator_bucket {
    unsigned used;
    uint64_t since_ms; /* when used was last lowered */
};

struct correlator_entry {
    char *namespace_, *pod; /* "" both: the Node */
    char *reason, *message;
    bool warning, is_combined;
    unsigned count;     /* times it happened; 0 = the place is free */
    unsigned n_written; /* of these the API knows */
    time_t first, last;
    uint64_t last_ms;
    struct correlator_bucket bucket;
    /* Of who writes it; NULL at first, freed with the entry. */
    char *pod_uid, *event_name;
    bool has_event; /* the API has the event of that name, as far as we know */
};

struct correlator {
    struct correlator_entry
        entries[CORRELATOR_ENTRIES_MAX]; /* one that waits to be written does not move */
    struct correlator_bucket bucket;
    size_t next; /* where to look first: behind the one that was tried last */
};

struct correlator_now {
    uint64_t ms; /* monotonic */
    time_t wall;
};

struct correlator_event {
    const char *namespace_, *pod; /* "" both: the Node */
    const char *reason, *message;
    bool warning;
};

enum correlator_outcome { CORRELATOR_FULL = 1 };

/* 0, CORRELATOR_FULL (it is lost), or -ENOMEM. */
int correlator_add(struct correlator *correlator, const struct correlator_event *sentence,
                   const struct correlator_now *now);

/*
 * The entry that should be written now, or NULL; *ret_wait_ms is then when to ask again, UINT64_MAX
 * for not before something is added. Entries take turns, so that one that cannot be written holds
 * up no other.
 */
struct correlator_entry *correlator_next(struct correlator *correlator,
                                         const struct correlator_now *now, uint64_t *ret_wait_ms);

/* A write of `count` was tried: that took its share of the rate. Whether it worked is said by
 * setting entry->n_written. */
void correlator_spend(struct correlator *correlator, struct correlator_entry *entry,
                      const struct correlator_now *now);

/* Nobody wants to hear about it any more. */
void correlator_forget(struct correlator_entry *entry);

bool correlator_is_all_written(const struct correlator *correlator);

void correlator_deinit(struct correlator *correlator);
