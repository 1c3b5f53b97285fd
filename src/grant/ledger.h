// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Who holds which device id: the rules over grants.
 *
 * Pure: no file, no clock, no log. Time is milliseconds of any clock that does not run backwards;
 * replaying a journal gives the same holders.
 *
 *  - The newest grant of an id holds it. So an id, within its resource, has one current grant at
 *    most (ledger_check).
 *  - A grant that still holds an id is *current*. One that holds none is *ending*: its processes
 *    may still run. The kubelet allocates an init container's ids again to the main container of
 *    the same pod, and ids of a finished pod in the very call that reclaims them.
 *  - A grant is freed when two complete pod-resources lists, begun LEDGER_SETTLE_MS or more after
 *    it was answered (and after it lost its last id), do not have any id that it holds, and when
 *    the kubelet's checkpoint does not name it, and when the holder backend knows of no process.
 *    While the kubelet does not respond, or its checkpoint is unreadable, nothing is freed.
 *  - The kubelet's lists leave init containers out, and are empty for a moment after its restart;
 *    its checkpoint has both cases right. An entry of an ended pod stays in the checkpoint until
 *    the kubelet writes it again, which it does whenever a device list arrives (Kubernetes 1.36,
 *    pkg/kubelet/apis/podresources/server_v1.go, pkg/kubelet/cm/devicemanager/manager.go).
 *  - An id that a pod holds, and no grant, is adopted: it was given out by another device plugin or
 *    by an older release. So is one whose settled grant the kubelet's checkpoint does not name,
 * while it has the id under another grant or under none: our log is from before a rollback.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "grant/grant.h"
#include "grant/kubeletcheckpoint.h"

enum {
    LEDGER_SETTLE_MS = 10000, /* by then the kubelet has recorded the response */
    LEDGER_LISTS = 2,
    LEDGER_ENDING_MAX = 4096,                   /* more are dropped while no lists arrive */
    LEDGER_ENDING_LAST = 2 * LEDGER_ENDING_MAX, /* also while the checkpoint cannot be read */
};

enum ledger_outcome {
    LEDGER_DUPLICATE = 1, /* there is already a grant of this id */
};

/* One grant and its state after later events. */
struct ledger_grant {
    struct grant grant;
    size_t n_held;     /* of its ids; 0 = ending */
    uint64_t since_ms; /* answered, or lost its last id: lists count from then on; UINT64_MAX = not
                          answered yet */
    unsigned n_absent; /* consecutive lists without it */
    bool is_listed;    /* in the last list */
    bool is_dropped;   /* within ledger_free_many */
    bool is_in_checkpoint; /* the kubelet's checkpoint has it, as of the last read */
    char pod_uid[KUBELETCHECKPOINT_UID_SIZE], container[KUBELETCHECKPOINT_NAME_SIZE]; /* or "" */
};

struct ledger {
    struct ledger_grant **grants; /* in order of creation */
    size_t n_grants, capacity;
    struct ledger_holding *holdings; /* sorted by resource and id */
    size_t n_holdings, holdings_capacity;
    struct ledger_grant **index; /* by the grant's id: a hash table, at most half full */
    size_t index_size;           /* a power of two */
};

#define LEDGER_INIT    \
    {                  \
        .grants = NULL \
    }

void ledger_deinit(struct ledger *ledger);

/*
 * The newest grant, not answered yet: takes its ids from their holders. The grant is copied. 0,
 * LEDGER_DUPLICATE or -ENOMEM (the ledger is unchanged).
 */
int ledger_add(struct ledger *ledger, const struct grant *grant, uint64_t now_ms);

/* The kubelet has the response. No effect if the grant is gone. */
void ledger_answered(struct ledger *ledger, const char *id, uint64_t now_ms);

/* It ended. False if there is no such grant. */
bool ledger_free(struct ledger *ledger, const char *id);

/* As ledger_free for each that exists, in one pass over the ledger however many they are. */
void ledger_free_many(struct ledger *ledger, const char (*ids)[GRANT_ID_SIZE], size_t n);

/* Applies a record of the journal; its grants count as answered now. 0 or -ENOMEM; repeated and
 * unknown records change nothing. */
int ledger_replay(struct ledger *ledger, const struct grant_record *record, uint64_t now_ms);

/* Takes over what is known about each grant besides the journal: when it was answered, its pod. */
void ledger_inherit(struct ledger *ledger, const struct ledger *earlier);

/* The grants as payloads framed for a journal; replaying them gives the same holders. */
void ledger_format(const struct ledger *ledger, struct text *out);

/* --- input from the kubelet --- */

/* One device id that a pod holds. */
struct ledger_entry {
    const char *resource, *id;
    const char *pod_namespace, *pod, *container;
};

/* Whether a process still uses a grant. */
struct ledger_backend {
    bool (*is_held)(const char *grant_id, void *userdata);
    void *userdata;
};

/* No backend: no process is ever known. */
extern const struct ledger_backend ledger_backend_none;

/* A complete list from the kubelet, and its checkpoint as read after the list. */
struct ledger_view {
    uint64_t began_ms; /* when the list was requested */
    const struct ledger_entry *entries;
    size_t n_entries;
    const struct kubeletcheckpoint
        *checkpoint; /* NULL = unreadable: a list ends no grant, no absence counts */
    const struct ledger_backend *backend;
    const char *boot; /* for adopted grants */
    int64_t now_s;    /* wall clock, for adopted grants */
};

/* The consequences of a view; not applied yet. */
struct ledger_changes {
    char (*freed)[GRANT_ID_SIZE];
    size_t n_freed, freed_capacity;
    struct grant *adopted; /* complete except for the id if that is "": the caller generates one */
    const struct ledger_entry **adopted_from; /* an entry of each, borrowed from the view */
    size_t n_adopted;
    size_t n_only_in_checkpoint; /* would be freed, but the kubelet's file still has them: it may be
                                    outdated, and a device list makes the kubelet rewrite it */
};

#define LEDGER_CHANGES_INIT \
    {                       \
        .freed = NULL       \
    }

void ledger_changes_deinit(struct ledger_changes *changes);

/* 0 or -ENOMEM. */
int ledger_observe(struct ledger *ledger, const struct ledger_view *view,
                   struct ledger_changes *ret_changes);

/*
 * For a kubelet whose lists do not arrive: the oldest ending grants beyond LEDGER_ENDING_MAX,
 * except those that the checkpoint names, that a process uses or that are not settled. Without a
 * readable checkpoint, those beyond LEDGER_ENDING_LAST. The entries are not considered. 0 or
 * -ENOMEM.
 */
int ledger_find_excess(struct ledger *ledger, const struct ledger_view *view,
                       struct ledger_changes *ret_changes);

/* --- questions --- */

const struct ledger_grant *ledger_find(const struct ledger *ledger, const char *id);

/* The current grant of a device id, or NULL. */
const struct ledger_grant *ledger_holder(const struct ledger *ledger, const char *resource,
                                         const char *device_id);

/* The next grant, from *position on, that has ids of that GPU or MIG device, or had them and has
 * not ended; moves *position (at first 0) behind it. NULL: there is none. */
const struct ledger_grant *ledger_next_of_device(const struct ledger *ledger, const char *uuid,
                                                 size_t *position);

/* An id that a grant holds. */
struct ledger_held {
    const char *resource, *id;
    const struct grant *grant;
};

/* The next one, from *position (at first 0) on, in the order of resource and id. False: there is
 * none. Borrowed until the ledger changes. */
bool ledger_next_held(const struct ledger *ledger, size_t *position, struct ledger_held *ret_held);

/* Counts for metrics. */
struct ledger_counts {
    size_t n_current, n_ending, n_adopted; /* adopted ones are current or ending as well */
};
struct ledger_counts ledger_count(const struct ledger *ledger);

/* Checks the invariants; 0, or -EINVAL with the violated one. */
int ledger_check(const struct ledger *ledger, struct error *err);
