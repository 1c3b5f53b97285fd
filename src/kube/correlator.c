// SPDX-License-Identifier: Apache-2.0
#include "kube/correlator.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

static bool is_same(const char *a, const char *b)
{
    return str_equal(a ? a : "", b ? b : "");
}

static bool is_about(const struct correlator_entry *entry, const struct correlator_event *sentence)
{
    return str_equal(entry->node, sentence->node ? sentence->node : "") &&
           is_same(entry->kind, sentence->kind) &&
           is_same(entry->uid, sentence->kind ? sentence->uid : NULL) &&
           str_equal(entry->namespace_, sentence->namespace_) &&
           str_equal(entry->pod, sentence->pod) && str_equal(entry->reason, sentence->reason) &&
           entry->warning == sentence->warning;
}

static bool is_pending(const struct correlator_entry *entry)
{
    return entry->count != entry->n_written;
}

static char *copy_message(const char *prefix, const char *message)
{
    char copy[CORRELATOR_MESSAGE_MAX + 1];

    if (snprintf(copy, sizeof(copy), "%s%s", prefix, message) >= (int)sizeof(copy))
        str_mark_cut(copy, sizeof(copy));
    return strdup(copy);
}

/* The entry for the message; NULL = a new one is needed. */
static struct correlator_entry *find(struct correlator *correlator,
                                     const struct correlator_event *sentence, const char *message,
                                     bool *ret_is_combined)
{
    struct correlator_entry *combined = NULL;
    size_t n_sentences = 0;

    for (size_t i = 0; i < CORRELATOR_ENTRIES_MAX; i++) {
        struct correlator_entry *entry = &correlator->entries[i];

        if (!entry->count || !is_about(entry, sentence))
            continue;
        if (!entry->is_combined && str_equal(entry->message, message))
            return entry;
        if (entry->is_combined)
            combined = entry;
        n_sentences += !entry->is_combined;
    }
    *ret_is_combined = n_sentences >= CORRELATOR_SENTENCES_MAX;
    return *ret_is_combined ? combined : NULL;
}

static void free_entry(struct correlator_entry *entry)
{
    free(entry->node);
    free(entry->uid);
    free(entry->namespace_);
    free(entry->pod);
    free(entry->reason);
    free(entry->message);
    free(entry->pod_uid);
    free(entry->event_name);
    memset(entry, 0, sizeof(*entry));
}

void correlator_forget(struct correlator_entry *entry)
{
    free_entry(entry);
}

/* A free slot; NULL if all entries are unwritten. */
static struct correlator_entry *make_room(struct correlator *correlator)
{
    struct correlator_entry *oldest = NULL;

    for (size_t i = 0; i < CORRELATOR_ENTRIES_MAX; i++) {
        struct correlator_entry *entry = &correlator->entries[i];

        if (!entry->count)
            return entry;
        if (!is_pending(entry) && (!oldest || entry->last_ms < oldest->last_ms))
            oldest = entry;
    }
    if (oldest)
        free_entry(oldest);
    return oldest;
}

static int add_entry(struct correlator *correlator, const struct correlator_event *sentence,
                     char *message, bool is_combined, const struct correlator_now *now)
{
    struct correlator_entry *place = make_room(correlator);
    struct correlator_entry entry = {
        .node = strdup(sentence->node ? sentence->node : ""),
        .api_version = sentence->api_version,
        .kind = sentence->kind,
        .uid = sentence->kind ? strdup(sentence->uid) : NULL,
        .namespace_ = strdup(sentence->namespace_),
        .pod = strdup(sentence->pod),
        .reason = strdup(sentence->reason),
        .message = message,
        .warning = sentence->warning,
        .is_once = sentence->is_once,
        .is_combined = is_combined,
        .count = 1,
        .first = now->wall,
        .last = now->wall,
        .last_ms = now->ms,
    };

    if (!place || !entry.node || (entry.kind && !entry.uid) || !entry.namespace_ || !entry.pod ||
        !entry.reason) {
        free_entry(&entry);
        return place ? -ENOMEM : CORRELATOR_FULL;
    }
    *place = entry;
    return 0;
}

int correlator_add(struct correlator *correlator, const struct correlator_event *sentence,
                   const struct correlator_now *now)
{
    cleanup_free char *message = copy_message("", sentence->message);
    struct correlator_entry *entry;
    bool is_combined = false;

    if (!message)
        return -ENOMEM;
    entry = find(correlator, sentence, message, &is_combined);
    if (is_combined) {
        char *combined = copy_message(CORRELATOR_COMBINED, sentence->message);

        if (!combined)
            return -ENOMEM;
        free(message);
        message = combined;
    }
    if (!entry)
        return add_entry(correlator, sentence, TAKE_PTR(message), is_combined, now);
    entry->count++;
    entry->last = now->wall;
    entry->last_ms = now->ms;
    free(entry->message);
    entry->message = TAKE_PTR(message);
    return 0;
}

/* 0, or how long until the bucket has room. */
static uint64_t wait_for(struct correlator_bucket *bucket, unsigned burst, uint64_t refill_ms,
                         uint64_t now_ms)
{
    const uint64_t n_back = (now_ms - bucket->since_ms) / refill_ms;

    if (n_back >= bucket->used)
        *bucket = (struct correlator_bucket){.since_ms = now_ms};
    else
        *bucket = (struct correlator_bucket){.used = bucket->used - (unsigned)n_back,
                                             .since_ms = bucket->since_ms + n_back * refill_ms};
    return bucket->used < burst ? 0 : bucket->since_ms + refill_ms - now_ms;
}

struct correlator_entry *correlator_next(struct correlator *correlator,
                                         const struct correlator_now *now, uint64_t *ret_wait_ms)
{
    const uint64_t all_wait =
        wait_for(&correlator->bucket, CORRELATOR_ALL_BURST, CORRELATOR_ALL_REFILL_MS, now->ms);
    uint64_t wait = UINT64_MAX;

    for (size_t i = 0; i < CORRELATOR_ENTRIES_MAX; i++) {
        const size_t place = (correlator->next + i) % CORRELATOR_ENTRIES_MAX;
        struct correlator_entry *entry = &correlator->entries[place];
        uint64_t own_wait;

        if (!is_pending(entry))
            continue;
        own_wait = wait_for(&entry->bucket, CORRELATOR_BURST, CORRELATOR_REFILL_MS, now->ms);
        own_wait = own_wait > all_wait ? own_wait : all_wait;
        if (own_wait == 0) {
            correlator->next = place + 1;
            return entry;
        }
        wait = own_wait < wait ? own_wait : wait;
    }
    *ret_wait_ms = wait;
    return NULL;
}

void correlator_spend(struct correlator *correlator, struct correlator_entry *entry,
                      const struct correlator_now *now)
{
    (void)wait_for(&correlator->bucket, CORRELATOR_ALL_BURST, CORRELATOR_ALL_REFILL_MS, now->ms);
    (void)wait_for(&entry->bucket, CORRELATOR_BURST, CORRELATOR_REFILL_MS, now->ms);
    correlator->bucket.used++;
    entry->bucket.used++;
}

bool correlator_is_all_written(const struct correlator *correlator)
{
    for (size_t i = 0; i < CORRELATOR_ENTRIES_MAX; i++)
        if (is_pending(&correlator->entries[i]))
            return false;
    return true;
}

void correlator_deinit(struct correlator *correlator)
{
    for (size_t i = 0; i < CORRELATOR_ENTRIES_MAX; i++)
        free_entry(&correlator->entries[i]);
}
