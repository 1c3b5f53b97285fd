// SPDX-License-Identifier: Apache-2.0
#include "kube/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/lograte.h"
#include "base/text.h"

enum { REASON_KEPT = 768 };

struct item {
    char *key;
    void *kept;
    bool is_listed; /* in the list that is being read, or newer */
};

struct kube_store {
    struct kube_watch *watch;
    const struct store_kind *kind;
    struct store_events events;
    const char *what, *remedy;
    void *userdata;

    struct item *items; /* by key */
    size_t n_items, capacity;
    enum store_state state;
    bool is_complete;
    char reason[REASON_KEPT];
    struct lograte trouble;
};

/* -- items ------------------------------------------------------------------------------------- */

/* The place of the first item whose key is not less. Lists arrive in order, so the end is tried
 * first. */
static size_t place_of(const struct kube_store *store, const char *key)
{
    size_t from = 0, to = store->n_items;

    if (to > 0 && strcmp(store->items[to - 1].key, key) < 0)
        return to;
    while (from < to) {
        size_t middle = from + (to - from) / 2;

        if (strcmp(store->items[middle].key, key) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

static bool is_at(const struct kube_store *store, size_t i, const char *key)
{
    return i < store->n_items && str_equal(store->items[i].key, key);
}

static void tell(const struct kube_store *store, const char *key, const void *was, const void *is)
{
    if (store->events.on_change)
        store->events.on_change(key, was, is, store->userdata);
}

/* Takes key and kept, also on failure. */
static int insert(struct kube_store *store, size_t i, char *key, void *kept)
{
    if (!array_push(&store->items, &store->n_items, &store->capacity, sizeof(*store->items))) {
        store->kind->release(kept);
        free(key);
        return -ENOMEM;
    }
    memmove(&store->items[i + 1], &store->items[i],
            (store->n_items - 1 - i) * sizeof(*store->items));
    store->items[i] = (struct item){.key = key, .kept = kept, .is_listed = true};
    tell(store, key, NULL, kept);
    return 0;
}

static void change(struct kube_store *store, size_t i, void *kept)
{
    struct item *item = &store->items[i];
    void *was = item->kept;

    item->is_listed = true;
    if (store->kind->is_equal(was, kept)) {
        store->kind->release(kept);
        return;
    }
    item->kept = kept;
    tell(store, item->key, was, kept);
    store->kind->release(was);
}

static void item_free(const struct kube_store *store, struct item *item)
{
    store->kind->release(item->kept);
    free(item->key);
}

static void drop(struct kube_store *store, size_t i)
{
    struct item gone = store->items[i];

    store->n_items--;
    memmove(&store->items[i], &store->items[i + 1], (store->n_items - i) * sizeof(gone));
    tell(store, gone.key, gone.kept, NULL);
    item_free(store, &gone);
}

static char *key_of(const json_t *object)
{
    const json_t *metadata = json_object_get(object, "metadata");
    const char *name = json_string_value(json_object_get(metadata, "name"));
    const char *namespace_ = json_string_value(json_object_get(metadata, "namespace"));
    cleanup_text struct text key = TEXT_INIT;

    if (!name)
        return NULL;
    if (namespace_)
        text_addf(&key, "%s/", namespace_);
    text_add(&key, name);
    return text_take(&key);
}

static int keep(struct kube_store *store, const json_t *object, char *key)
{
    size_t i = place_of(store, key);
    void *kept = store->kind->reduce(object, store->userdata);

    if (!kept) {
        if (is_at(store, i, key))
            store->items[i].is_listed = true;
        free(key);
        return -ENOMEM;
    }
    if (!is_at(store, i, key))
        return insert(store, i, key, kept);
    change(store, i, kept);
    free(key);
    return 0;
}

/* -- the watch --------------------------------------------------------------------------------- */

static void on_relist(void *userdata)
{
    struct kube_store *store = userdata;

    for (size_t i = 0; i < store->n_items; i++)
        store->items[i].is_listed = false;
}

static void on_object(enum kube_change how, json_t *object, void *userdata)
{
    struct kube_store *store = userdata;
    char *key = key_of(object);
    size_t i;

    if (key && how == KUBE_DELETED) {
        i = place_of(store, key);
        if (is_at(store, i, key))
            drop(store, i);
        free(key);
    } else if (!key || keep(store, object, key) < 0) {
        log_error("an object cannot be kept: it has no name, or memory is short", "of",
                  store->what);
    }
}

static void tell_state(struct kube_store *store)
{
    if (store->events.on_state)
        store->events.on_state(store, store->userdata);
}

static void set_state(struct kube_store *store, enum store_state state, const char *reason)
{
    store->state = state;
    if (snprintf(store->reason, sizeof(store->reason), "%s", reason) >= (int)sizeof(store->reason))
        str_mark_cut(store->reason, sizeof(store->reason));
    tell_state(store);
}

/* After trouble the state stays until the watch works, too: one that may list might not watch. */
static void on_synced(void *userdata)
{
    struct kube_store *store = userdata;
    bool is_first = !store->is_complete;

    for (size_t i = store->n_items; i-- > 0;)
        if (!store->items[i].is_listed)
            drop(store, i);
    store->is_complete = true;
    if (store->state == STORE_STARTING)
        set_state(store, STORE_SYNCED, "");
    else if (is_first)
        tell_state(store);
}

static enum store_state state_of(unsigned http_status)
{
    switch (http_status) {
    case 403:
        return STORE_FORBIDDEN;
    case 404:
        return STORE_ABSENT;
    default:
        return STORE_UNREACHABLE;
    }
}

/* That there is no such collection is for the caller to say, where it matters. */
static void log_trouble(struct kube_store *store, enum store_state state, const char *reason)
{
    if (state == STORE_ABSENT || !lograte_begin(&store->trouble, reason, clock_now_ms()))
        return;
    if (state == STORE_FORBIDDEN && store->remedy)
        log_error("forbidden to watch, retrying", "what", store->what, "reason", reason, "remedy",
                  store->remedy);
    else
        log_warning("cannot watch, retrying", "what", store->what, "reason", reason);
}

static void on_trouble(const char *reason, void *userdata)
{
    struct kube_store *store = userdata;
    enum store_state state = reason ? state_of(kube_watch_refusal(store->watch)) : STORE_SYNCED;

    if (reason)
        log_trouble(store, state, reason);
    else if (lograte_end(&store->trouble))
        log_info("watched again", "what", store->what);
    set_state(store, state, reason ? reason : "");
}

/* -- life -------------------------------------------------------------------------------------- */

int kube_store_new(uv_loop_t *loop, const struct kube_store_setup *setup,
                   struct kube_store **ret_store, struct error *err)
{
    static const struct kube_watch_events events = {on_relist, on_object, on_synced, on_trouble};
    struct kube_store *store = calloc(1, sizeof(*store));
    int r;

    if (!store)
        return error_set_errno(err, -ENOMEM, "cannot watch %s", setup->what);
    store->kind = setup->kind;
    if (setup->events)
        store->events = *setup->events;
    store->what = setup->what;
    store->remedy = setup->remedy;
    store->userdata = setup->userdata;
    r = kube_watch_new(loop,
                       &(struct kube_watch_setup){.client = setup->client,
                                                  .path = setup->path,
                                                  .query = setup->query,
                                                  .events = &events,
                                                  .userdata = store},
                       &store->watch, err);
    if (r < 0)
        free(store);
    else
        *ret_store = store;
    return r;
}

void kube_store_free(struct kube_store *store)
{
    if (!store)
        return;
    kube_watch_free(store->watch);
    for (size_t i = 0; i < store->n_items; i++)
        item_free(store, &store->items[i]);
    free(store->items);
    free(store);
}

/* -- what is kept ------------------------------------------------------------------------------ */

enum store_state kube_store_state(const struct kube_store *store)
{
    return store->state;
}

bool kube_store_is_complete(const struct kube_store *store)
{
    return store && store->is_complete;
}

const char *kube_store_reason(const struct kube_store *store)
{
    return store->reason;
}

const void *kube_store_find(const struct kube_store *store, const char *key)
{
    size_t i = place_of(store, key);

    return is_at(store, i, key) ? store->items[i].kept : NULL;
}

size_t kube_store_count(const struct kube_store *store)
{
    return store ? store->n_items : 0;
}

const void *kube_store_at(const struct kube_store *store, size_t i)
{
    return store->items[i].kept;
}

/* -- objects kept as JSON ---------------------------------------------------------------------- */

bool kube_store_json_is_equal(const void *a, const void *b)
{
    return json_equal(a, b);
}

void kube_store_json_release(void *kept)
{
    json_decref(kept);
}

void *kube_store_keep(const json_t *object, void *userdata)
{
    json_t *kept = json_deep_copy(object);

    json_object_del(json_object_get(kept, "metadata"), "managedFields");
    return kept;
}
