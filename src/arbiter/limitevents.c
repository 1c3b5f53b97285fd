// SPDX-License-Identifier: Apache-2.0
#include "arbiter/limitevents.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "arbiter/localgrant.h"
#include "base/array.h"
#include "base/hash.h"
#include "base/text.h"

#define MIB (UINT64_C(1) << 20)

void limitevents_deinit(struct limitevents *events)
{
    for (size_t i = 0; i < events->n_items; i++)
        free(events->items[i].kept);
    free(events->items);
    *events = (struct limitevents)LIMITEVENTS_INIT;
}

/* --- the containers --- */

static uint64_t key_of(const struct limituse *use)
{
    uint64_t hash = hash_text(HASH_INIT, use->pod_uid);

    hash = hash_text(hash_text(hash, "/"), use->container);
    return hash_text(hash_text(hash, "/"), use->uuid);
}

/* Made if it is new; NULL without memory. */
static struct limitevents_item *find(struct limitevents *events, uint64_t key)
{
    struct limitevents_item *item;

    for (size_t i = 0; i < events->n_items; i++)
        if (events->items[i].key == key)
            return &events->items[i];
    item = array_push(&events->items, &events->n_items, &events->capacity, sizeof(*item));
    if (item)
        item->key = key;
    return item;
}

/* Of those that are gone, only what was kept is left. */
static void drop_gone(struct limitevents *events)
{
    size_t left = 0, n_gone = 0;

    for (size_t i = 0; i < events->n_items; i++) {
        struct limitevents_item *item = &events->items[i];
        const bool stays =
            item->is_there || (item->kept && n_gone++ < (size_t)LIMITEVENTS_GONE_MAX);

        item->is_there = false;
        if (stays) {
            events->items[left++] = *item;
            continue;
        }
        events->n_dropped += item->kept != NULL;
        free(item->kept);
    }
    events->n_items = left;
}

/* --- events --- */

static struct arbiter_event make_event(const struct limituse *use)
{
    struct arbiter_event event = {.limit_bytes = use->limit_bytes};

    snprintf(event.reason, sizeof(event.reason), "%s",
             use->is_starved ? LIMITEVENTS_STARVED : LIMITEVENTS_REASON);
    snprintf(event.namespace_, sizeof(event.namespace_), "%s", use->namespace_);
    snprintf(event.pod, sizeof(event.pod), "%s", use->pod);
    snprintf(event.container, sizeof(event.container), "%s", use->container);
    snprintf(event.device, sizeof(event.device), "%s", use->uuid);
    return event;
}

/* The event's sentence tells of all that no event that was taken told of. */
static void tell(struct limitevents_item *item, struct arbiter_event *event, limitevents_fn *fn,
                 void *userdata)
{
    char failed[96];

    snprintf(failed, sizeof(failed), "%llu allocation%s failed with CUDA error 2 (out of memory)",
             (unsigned long long)item->n_untold, item->n_untold == 1 ? "" : "s");
    if (str_equal(event->reason, LIMITEVENTS_STARVED))
        snprintf(event->message, sizeof(event->message),
                 "container %s gets no more memory of %s while its pod uses GPU memory that its "
                 "slices do not give: %s; end what uses it, or ask for more slices",
                 event->container, event->device, failed);
    else
        snprintf(event->message, sizeof(event->message),
                 "container %s reached the %llu MiB that its slices have of %s: %s; ask for more "
                 "slices, or use less",
                 event->container, (unsigned long long)(event->limit_bytes / MIB), event->device,
                 failed);
    item->n_kept = item->n_untold;
    if (fn(event, userdata))
        item->n_untold = item->n_kept = 0;
}

static void keep(struct limitevents *events, struct limitevents_item *item,
                 const struct arbiter_event *event)
{
    if (!item->n_kept) { /* it was taken */
        free(item->kept);
        item->kept = NULL;
        return;
    }
    if (!item->kept)
        item->kept = malloc(sizeof(*item->kept));
    if (item->kept) {
        *item->kept = *event;
    } else {
        events->n_dropped++;
        item->n_untold = item->n_kept = 0;
    }
}

static void count(struct limitevents_item *item, const struct limituse *use, enum limits_mode mode)
{
    if (mode == LIMITS_ENFORCED && use->n_denied > item->n_denied)
        item->n_untold += use->n_denied - item->n_denied;
    item->n_denied = use->n_denied; /* less: counted by another */
    item->is_there = true;
}

int limitevents_observe(struct limitevents *events, const struct limituse *uses, size_t n_uses,
                        enum limits_mode mode, uint64_t now_ms, limitevents_fn *fn, void *userdata)
{
    for (size_t i = 0; i < n_uses; i++) {
        const struct limituse *use = &uses[i];
        struct limitevents_item *item = find(events, key_of(use));
        struct arbiter_event event;

        if (!item)
            return -ENOMEM;
        count(item, use, mode);
        /* A pod is known by name soon after its start; a command reads what its library says. */
        if (item->n_untold <= item->n_kept || now_ms < item->quiet_until_ms || !*use->pod ||
            localgrant_is_uid(use->pod_uid))
            continue;
        event = make_event(use);
        tell(item, &event, fn, userdata);
        keep(events, item, &event);
        item->quiet_until_ms = now_ms + LIMITEVENTS_QUIET_MS;
    }
    drop_gone(events);
    return 0;
}

void limitevents_deliver(struct limitevents *events, limitevents_fn *fn, void *userdata)
{
    for (size_t i = 0; i < events->n_items; i++) {
        struct limitevents_item *item = &events->items[i];

        if (!item->kept)
            continue;
        tell(item, item->kept, fn, userdata);
        if (item->n_kept)
            return;
        free(item->kept);
        item->kept = NULL;
    }
}
