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
    TALLY_ENTRIES_MAX = 128,
    TALLY_SENTENCES_MAX = 8, /* about one object for one reason */
    TALLY_BURST = 3,         /* writes of an entry at once, then one each TALLY_REFILL_MS */
    TALLY_REFILL_MS = 10000,
    TALLY_ALL_BURST = 30, /* writes of all entries at once, then one each TALLY_ALL_REFILL_MS */
    TALLY_ALL_REFILL_MS = 500,
    TALLY_MESSAGE_MAX = 1024, /* the API's limit */
};

#define TALLY_COMBINED "(combined from similar events): "

struct tally_bucket {
    unsigned used;
    uint64_t since_ms; /* when used was last lowered */
};

struct tally_entry {
    char *namespace_, *pod; /* "" both: the Node */
    char *reason, *message;
    bool warning, is_combined;
    unsigned count;     /* times it happened; 0 = the place is free */
    unsigned n_written; /* of these the API knows */
    time_t first, last;
    uint64_t last_ms;
    struct tally_bucket bucket;
    /* Of who writes it; NULL at first, freed with the entry. */
    char *pod_uid, *event_name;
    bool has_event; /* the API has the event of that name, as far as we know */
};

struct tally {
    struct tally_entry entries[TALLY_ENTRIES_MAX]; /* one that waits to be written does not move */
    struct tally_bucket bucket;
};

struct tally_now {
    uint64_t ms; /* monotonic */
    time_t wall;
};

struct tally_sentence {
    const char *namespace_, *pod; /* "" both: the Node */
    const char *reason, *message;
    bool warning;
};

enum tally_outcome { TALLY_FULL = 1 };

/* 0, TALLY_FULL (it is lost), or -ENOMEM. */
int tally_add(struct tally *tally, const struct tally_sentence *sentence,
              const struct tally_now *now);

/*
 * The entry that should be written now, or NULL; *ret_wait_ms is then when to ask again, UINT64_MAX
 * for not before something is added.
 */
struct tally_entry *tally_next(struct tally *tally, const struct tally_now *now,
                               uint64_t *ret_wait_ms);

/* A write of `count` was tried: that took its share of the rate. Whether it worked is said by
 * setting entry->n_written. */
void tally_spend(struct tally *tally, struct tally_entry *entry, const struct tally_now *now);

/* Nobody wants to hear about it any more. */
void tally_forget(struct tally_entry *entry);

bool tally_is_all_written(const struct tally *tally);

void tally_deinit(struct tally *tally);
