// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Aggregates events, like client-go's EventCorrelator. It has no clock and sends nothing.
 *
 * The same message about the same object is one entry with a count. A new entry is written;
 * repetitions are written a few times immediately and then rarely, and all entries together are
 * rate-limited. Too many different messages about one object are merged into one entry with the
 * newest. When full, the entry written longest ago is dropped; unwritten entries stay, and new ones
 * are rejected.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

enum {
    CORRELATOR_ENTRIES_MAX = 128,
    CORRELATOR_SENTENCES_MAX = 8, /* about one object for one reason */
    CORRELATOR_BURST = 3, /* immediate writes of an entry, then one every CORRELATOR_REFILL_MS */
    CORRELATOR_REFILL_MS = 10000,
    CORRELATOR_ALL_BURST =
        30, /* immediate writes of all entries, then one every CORRELATOR_ALL_REFILL_MS */
    CORRELATOR_ALL_REFILL_MS = 500,
    CORRELATOR_MESSAGE_MAX = 1024, /* the API's limit */
};

#define CORRELATOR_COMBINED "(combined from similar events): "

struct correlator_bucket {
    unsigned used;
    uint64_t since_ms; /* when `used` was last decremented */
};

struct correlator_entry {
    char *node;                     /* "" = the recorder's own */
    const char *api_version, *kind; /* of an object that is no Node, whose name `node` is */
    char *uid;                      /* ... its uid */
    char *namespace_, *pod;         /* both "": the Node */
    char *reason, *message;
    bool warning, is_combined, is_once;
    unsigned count;     /* number of occurrences; 0 = the slot is free */
    unsigned n_written; /* the number known to the API */
    time_t first, last;
    uint64_t last_ms;
    struct correlator_bucket bucket;
    /* For the writer; NULL initially, freed with the entry. */
    char *pod_uid, *event_name;
    bool has_event; /* the API has an event of that name, as far as we know */
};

struct correlator {
    struct correlator_entry
        entries[CORRELATOR_ENTRIES_MAX]; /* an entry waiting to be written does not move */
    struct correlator_bucket bucket;
    size_t next; /* where to search next: after the last one tried */
};

struct correlator_now {
    uint64_t ms; /* monotonic */
    time_t wall;
};

struct correlator_event {
    const char *node; /* NULL = the recorder's own */
    /* Not NULL: about an object of this kind, whose name `node` is, in namespace_ ("" = in none).
     * Both static. */
    const char *api_version, *kind;
    const char *uid;              /* ... its uid */
    const char *namespace_, *pod; /* both "": the Node, or the object */
    const char *reason, *message;
    bool warning;
    bool is_once; /* about a pod: one event for its life, however often the program is restarted */
};

enum correlator_outcome { CORRELATOR_FULL = 1 };

/* 0, CORRELATOR_FULL (the event is lost), or -ENOMEM. */
int correlator_add(struct correlator *correlator, const struct correlator_event *sentence,
                   const struct correlator_now *now);

/*
 * The entry to write now, or NULL; *ret_wait_ms is then when to ask again, UINT64_MAX for not
 * before something is added. Entries take turns, so that one that cannot be written does not block
 * others.
 */
struct correlator_entry *correlator_next(struct correlator *correlator,
                                         const struct correlator_now *now, uint64_t *ret_wait_ms);

/* A write of `count` was tried, which consumed its share of the rate. On success set
 * entry->n_written. */
void correlator_spend(struct correlator *correlator, struct correlator_entry *entry,
                      const struct correlator_now *now);

/* The entry is no longer needed. */
void correlator_forget(struct correlator_entry *entry);

bool correlator_is_all_written(const struct correlator *correlator);

void correlator_deinit(struct correlator *correlator);
