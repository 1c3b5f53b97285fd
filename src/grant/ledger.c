// SPDX-License-Identifier: Apache-2.0
#include "grant/ledger.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/array.h"
#include "grant/journal.h"

/* A held id; the strings belong to the grant that holds it. */
struct ledger_holding {
    const char *resource, *id;
    struct ledger_grant *holder;
};

static bool none_is_held(const char *grant_id, void *userdata)
{
    (void)grant_id, (void)userdata;
    return false;
}

const struct ledger_backend ledger_backend_none = {.is_held = none_is_held};

/* --- holdings --- */

static int compare(const char *resource_a, const char *id_a, const char *resource_b,
                   const char *id_b)
{
    int order = strcmp(id_a, id_b);

    return order ? order : strcmp(resource_a, resource_b);
}

/* Its position, or where to insert it. */
static size_t find_place(const struct ledger *ledger, const char *resource, const char *id)
{
    size_t low = 0, high = ledger->n_holdings;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct ledger_holding *at = &ledger->holdings[middle];

        if (compare(at->resource, at->id, resource, id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct ledger_holding *find_holding(const struct ledger *ledger, const char *resource,
                                           const char *id)
{
    size_t place = find_place(ledger, resource, id);
    struct ledger_holding *found = &ledger->holdings[place];

    if (place == ledger->n_holdings || compare(found->resource, found->id, resource, id) != 0)
        return NULL;
    return found;
}

/* Reserves space, so that taking ids cannot fail half-way. */
static int make_room(struct ledger *ledger, size_t n)
{
    size_t wanted = ledger->n_holdings + n, capacity = ledger->holdings_capacity;
    struct ledger_holding *holdings;

    if (wanted <= capacity)
        return 0;
    capacity = wanted > 2 * capacity ? wanted : 2 * capacity;
    holdings = reallocarray(ledger->holdings, capacity, sizeof(*holdings));
    if (!holdings)
        return -ENOMEM;
    ledger->holdings = holdings;
    ledger->holdings_capacity = capacity;
    return 0;
}

static void lose_id(struct ledger_grant *loser, uint64_t now_ms)
{
    loser->n_held--;
    loser->n_absent = 0;
    if (loser->since_ms != UINT64_MAX)
        loser->since_ms = now_ms;
}

static void take_id(struct ledger *ledger, struct ledger_grant *taker, const char *id,
                    uint64_t now_ms)
{
    size_t place = find_place(ledger, taker->grant.resource, id);
    struct ledger_holding *at = &ledger->holdings[place];

    if (place < ledger->n_holdings &&
        compare(at->resource, at->id, taker->grant.resource, id) == 0) {
        if (at->holder == taker)
            return; /* an id twice in one grant */
        lose_id(at->holder, now_ms);
    } else {
        memmove(at + 1, at, (ledger->n_holdings - place) * sizeof(*at));
        ledger->n_holdings++;
    }
    *at = (struct ledger_holding){taker->grant.resource, id, taker};
    taker->n_held++;
}

/* --- grants --- */

static void ledger_grant_free(struct ledger_grant *entry)
{
    if (entry)
        grant_deinit(&entry->grant);
    free(entry);
}

DEFINE_CLEANUP(struct ledger_grant *, ledger_grant_free)

void ledger_deinit(struct ledger *ledger)
{
    for (size_t i = 0; i < ledger->n_grants; i++)
        ledger_grant_free(ledger->grants[i]);
    free(ledger->grants);
    free(ledger->holdings);
    free(ledger->index);
    *ledger = (struct ledger)LEDGER_INIT;
}

/* --- the index --- */

/* Where the grant of that id is in the index, or would be. Ids are random. */
static size_t find_slot(const struct ledger *ledger, const char *id)
{
    size_t hash = 0;

    for (size_t i = 0; i < GRANT_ID_SIZE - 1; i++)
        hash = hash * 31 + (unsigned char)id[i];
    for (;; hash++) {
        size_t slot = hash & (ledger->index_size - 1);

        if (!ledger->index[slot] ||
            memcmp(ledger->index[slot]->grant.id, id, GRANT_ID_SIZE - 1) == 0)
            return slot;
    }
}

static void fill_index(struct ledger *ledger)
{
    for (size_t i = 0; i < ledger->n_grants; i++)
        ledger->index[find_slot(ledger, ledger->grants[i]->grant.id)] = ledger->grants[i];
}

/* Room for one more. */
static int grow_index(struct ledger *ledger)
{
    size_t size = ledger->index_size ? 2 * ledger->index_size : 64;
    struct ledger_grant **index;

    if (2 * (ledger->n_grants + 1) <= ledger->index_size)
        return 0;
    index = calloc(size, sizeof(struct ledger_grant *));
    if (!index)
        return -ENOMEM;
    free(ledger->index);
    ledger->index = index;
    ledger->index_size = size;
    fill_index(ledger);
    return 0;
}

static struct ledger_grant *find(const struct ledger *ledger, const char *id)
{
    return ledger->index_size ? ledger->index[find_slot(ledger, id)] : NULL;
}

const struct ledger_grant *ledger_find(const struct ledger *ledger, const char *id)
{
    return grant_is_id(id) ? find(ledger, id) : NULL;
}

const struct ledger_grant *ledger_holder(const struct ledger *ledger, const char *resource,
                                         const char *device_id)
{
    const struct ledger_holding *found =
        ledger->n_holdings ? find_holding(ledger, resource, device_id) : NULL;

    return found ? found->holder : NULL;
}

/* An id is a UUID, or one with "::" and a number. */
static bool grant_has_device(const struct grant *grant, const char *uuid)
{
    const size_t length = strlen(uuid);

    for (size_t i = 0; i < grant->n_ids; i++)
        if (strncasecmp(grant->ids[i], uuid, length) == 0 &&
            (!grant->ids[i][length] || strncmp(grant->ids[i] + length, "::", 2) == 0))
            return true;
    return false;
}

const struct ledger_grant *ledger_next_of_device(const struct ledger *ledger, const char *uuid,
                                                 size_t *position)
{
    while (*uuid && *position < ledger->n_grants) {
        const struct ledger_grant *grant = ledger->grants[(*position)++];

        if (grant_has_device(&grant->grant, uuid))
            return grant;
    }
    return NULL;
}

bool ledger_next_held(const struct ledger *ledger, size_t *position, struct ledger_held *ret_held)
{
    const struct ledger_holding *at;

    if (*position >= ledger->n_holdings)
        return false;
    at = &ledger->holdings[(*position)++];
    *ret_held = (struct ledger_held){at->resource, at->id, &at->holder->grant};
    return true;
}

int ledger_add(struct ledger *ledger, const struct grant *grant, uint64_t now_ms)
{
    cleanup(ledger_grant_free_p) struct ledger_grant *entry = calloc(1, sizeof(*entry));
    struct ledger_grant **place;
    struct ledger_grant *added;

    if (find(ledger, grant->id))
        return LEDGER_DUPLICATE;
    if (!entry || grant_copy(&entry->grant, grant) < 0 || make_room(ledger, grant->n_ids) < 0 ||
        grow_index(ledger) < 0)
        return -ENOMEM;
    entry->since_ms = UINT64_MAX;
    place = array_push(&ledger->grants, &ledger->n_grants, &ledger->capacity, sizeof(*place));
    if (!place)
        return -ENOMEM;
    *place = added = TAKE_PTR(entry);
    ledger->index[find_slot(ledger, added->grant.id)] = added;
    for (size_t i = 0; i < added->grant.n_ids; i++)
        take_id(ledger, added, added->grant.ids[i], now_ms);
    return 0;
}

void ledger_answered(struct ledger *ledger, const char *id, uint64_t now_ms)
{
    struct ledger_grant *entry = find(ledger, id);

    if (entry)
        entry->since_ms = now_ms;
}

static void compact(struct ledger *ledger)
{
    size_t n_holdings = 0, n_grants = 0;

    for (size_t i = 0; i < ledger->n_holdings; i++)
        if (!ledger->holdings[i].holder->is_dropped)
            ledger->holdings[n_holdings++] = ledger->holdings[i];
    for (size_t i = 0; i < ledger->n_grants; i++)
        if (ledger->grants[i]->is_dropped)
            ledger_grant_free(ledger->grants[i]);
        else
            ledger->grants[n_grants++] = ledger->grants[i];
    ledger->n_holdings = n_holdings;
    ledger->n_grants = n_grants;
    memset(ledger->index, 0, ledger->index_size * sizeof(struct ledger_grant *));
    fill_index(ledger);
}

static bool drop(const struct ledger *ledger, const char *id)
{
    struct ledger_grant *entry = find(ledger, id);

    if (entry)
        entry->is_dropped = true;
    return entry;
}

bool ledger_free(struct ledger *ledger, const char *id)
{
    if (!drop(ledger, id))
        return false;
    compact(ledger);
    return true;
}

void ledger_free_many(struct ledger *ledger, const char (*ids)[GRANT_ID_SIZE], size_t n)
{
    bool has_dropped = false;

    for (size_t i = 0; i < n; i++)
        has_dropped |= drop(ledger, ids[i]);
    if (has_dropped)
        compact(ledger);
}

static void lose_ids(struct ledger *ledger, const struct grant *lost)
{
    for (size_t i = 0; i < lost->n_ids; i++)
        for (size_t k = 0; k < ledger->n_holdings; k++) {
            struct ledger_holding *at = &ledger->holdings[k];

            if (!str_equal(at->id, lost->ids[i]) || !str_equal(at->holder->grant.id, lost->id))
                continue;
            at->holder->n_held--;
            memmove(at, at + 1, (--ledger->n_holdings - k) * sizeof(*at));
            break;
        }
}

static int set_profiles(struct ledger *ledger, const struct grant *profiles)
{
    struct ledger_grant *entry = find(ledger, profiles->id);
    int r = 0;

    for (size_t i = 0; entry && r == 0 && i < profiles->n_devices; i++)
        r = grant_set_profile(&entry->grant, profiles->devices[i].uuid,
                              profiles->devices[i].profile);
    return r;
}

int ledger_replay(struct ledger *ledger, const struct grant_record *record, uint64_t now_ms)
{
    int r = 0;

    if (record->kind == GRANT_RECORD_GRANT)
        r = ledger_add(ledger, &record->grant, now_ms);
    else if (record->kind == GRANT_RECORD_FREE)
        ledger_free(ledger, record->freed);
    else if (record->kind == GRANT_RECORD_LOST)
        lose_ids(ledger, &record->grant);
    else if (record->kind == GRANT_RECORD_PROFILES)
        r = set_profiles(ledger, &record->grant);
    if (record->kind == GRANT_RECORD_GRANT && r == 0)
        ledger_answered(ledger, record->grant.id, now_ms);
    return r < 0 ? r : 0;
}

void ledger_inherit(struct ledger *ledger, const struct ledger *earlier)
{
    for (size_t i = 0; i < ledger->n_grants; i++) {
        struct ledger_grant *grant = ledger->grants[i];
        const struct ledger_grant *before = find(earlier, grant->grant.id);

        if (!before)
            continue;
        grant->since_ms = before->since_ms;
        memcpy(grant->pod_uid, before->pod_uid, sizeof(grant->pod_uid));
        memcpy(grant->container, before->container, sizeof(grant->container));
    }
}

static void frame(struct text *payload, struct text *out)
{
    if (!text_failed(payload))
        journal_frame(text_string(payload), payload->length, out);
    out->failed |= text_failed(payload);
    text_clear(payload);
}

/* The ids that it lost: their new holder may be gone from the ledger. */
static void format_lost(const struct ledger *ledger, const struct ledger_grant *grant,
                        struct text *payload, struct text *out)
{
    cleanup(grant_deinit) struct grant lost = GRANT_INIT;

    memcpy(lost.id, grant->grant.id, sizeof(lost.id));
    for (size_t i = 0; i < grant->grant.n_ids; i++)
        if (ledger_holder(ledger, grant->grant.resource, grant->grant.ids[i]) != grant &&
            grant_add_id(&lost, grant->grant.ids[i]) < 0)
            out->failed = true;
    if (!lost.n_ids)
        return;
    grant_format_lost(&lost, payload);
    frame(payload, out);
}

void ledger_format(const struct ledger *ledger, struct text *out)
{
    cleanup_text struct text payload = TEXT_INIT;

    for (size_t i = 0; i < ledger->n_grants; i++) {
        grant_format(&ledger->grants[i]->grant, &payload);
        frame(&payload, out);
        grant_format_profiles(&ledger->grants[i]->grant, &payload);
        if (payload.length)
            frame(&payload, out);
        format_lost(ledger, ledger->grants[i], &payload, out);
    }
}

/* --- input from the kubelet --- */

void ledger_changes_deinit(struct ledger_changes *changes)
{
    free(changes->freed);
    for (size_t i = 0; i < changes->n_adopted; i++)
        grant_deinit(&changes->adopted[i]);
    free(changes->adopted);
    free(changes->adopted_from);
    *changes = (struct ledger_changes)LEDGER_CHANGES_INIT;
}

static bool entry_has_id(const struct kubeletcheckpoint_entry *entry, const char *resource,
                         const char *id)
{
    if (!str_equal(entry->resource, resource))
        return false;
    for (size_t i = 0; i < entry->n_ids; i++)
        if (str_equal(entry->ids[i], id))
            return true;
    return false;
}

/* An adopted grant was allocated by others, without our annotation: recognised by its ids. */
static bool entry_is_of(const struct kubeletcheckpoint_entry *entry,
                        const struct ledger_grant *grant)
{
    if (*entry->grant)
        return str_equal(entry->grant, grant->grant.id);
    return grant->grant.is_adopted && grant->grant.n_ids &&
           entry_has_id(entry, grant->grant.resource, grant->grant.ids[0]);
}

static void look_into_checkpoint(struct ledger *ledger, const struct kubeletcheckpoint *checkpoint)
{
    if (!checkpoint)
        return;
    for (size_t i = 0; i < ledger->n_grants; i++)
        ledger->grants[i]->is_in_checkpoint = false;
    for (size_t k = 0; k < checkpoint->n_entries; k++) {
        const struct kubeletcheckpoint_entry *entry = &checkpoint->entries[k];

        for (size_t i = 0; i < ledger->n_grants; i++) {
            struct ledger_grant *grant = ledger->grants[i];

            if (!entry_is_of(entry, grant))
                continue;
            grant->is_in_checkpoint = true;
            memcpy(grant->pod_uid, entry->pod_uid, sizeof(grant->pod_uid));
            memcpy(grant->container, entry->container, sizeof(grant->container));
        }
    }
}

static void look_into_list(struct ledger *ledger, const struct ledger_view *view)
{
    for (size_t i = 0; i < ledger->n_grants; i++)
        ledger->grants[i]->is_listed = false;
    for (size_t i = 0; ledger->n_holdings && i < view->n_entries; i++) {
        struct ledger_holding *found =
            find_holding(ledger, view->entries[i].resource, view->entries[i].id);

        if (found)
            found->holder->is_listed = true;
    }
}

/* Whether a list that began then can show that a grant is gone. */
static bool is_settled(const struct ledger_grant *grant, uint64_t began_ms)
{
    return grant->since_ms != UINT64_MAX && began_ms >= grant->since_ms &&
           began_ms - grant->since_ms >= LEDGER_SETTLE_MS;
}

static int add_freed(struct ledger_changes *changes, const struct ledger_grant *grant)
{
    char(*freed)[GRANT_ID_SIZE] =
        array_push(&changes->freed, &changes->n_freed, &changes->freed_capacity, sizeof(*freed));

    if (!freed)
        return -ENOMEM;
    memcpy(*freed, grant->grant.id, sizeof(*freed));
    return 0;
}

static int judge(struct ledger_grant *grant, const struct ledger_view *view,
                 struct ledger_changes *changes)
{
    const struct ledger_backend *backend = view->backend;

    if (grant->is_listed)
        grant->n_absent = 0;
    else if (view->checkpoint && is_settled(grant, view->began_ms) &&
             grant->n_absent < LEDGER_LISTS)
        grant->n_absent++;
    if (!view->checkpoint || grant->n_absent < LEDGER_LISTS)
        return 0;
    if (grant->is_in_checkpoint) {
        changes->n_only_in_checkpoint += grant->n_held != 0;
        return 0;
    }
    if (backend->is_held(grant->grant.id, backend->userdata))
        return 0;
    return add_freed(changes, grant);
}

/* --- adoption --- */

static const struct kubeletcheckpoint_entry *find_entry(const struct kubeletcheckpoint *checkpoint,
                                                        const struct ledger_entry *listed)
{
    for (size_t i = 0; checkpoint && i < checkpoint->n_entries; i++)
        if (str_equal(checkpoint->entries[i].container, listed->container) &&
            entry_has_id(&checkpoint->entries[i], listed->resource, listed->id))
            return &checkpoint->entries[i];
    return NULL;
}

/*
 * Not held by any grant; or the holder is from before a rollback. Then the kubelet's checkpoint
 * names a grant that this log never had, or none: a release without grants, or another plugin,
 * answered.
 */
static bool is_to_adopt(const struct ledger *ledger, const struct ledger_view *view,
                        const struct ledger_entry *listed)
{
    const struct ledger_grant *holder = ledger_holder(ledger, listed->resource, listed->id);
    const struct kubeletcheckpoint_entry *entry;

    if (!holder)
        return true;
    if (!is_settled(holder, view->began_ms) || holder->is_in_checkpoint)
        return false;
    entry = find_entry(view->checkpoint, listed);
    if (!entry)
        return false;
    return *entry->grant ? !find(ledger, entry->grant) : !holder->grant.is_adopted;
}

/* All ids of one resource that one container holds are one grant. */
static bool is_same_container(const struct ledger_entry *a, const struct ledger_entry *b)
{
    return str_equal(a->resource, b->resource) && str_equal(a->container, b->container) &&
           str_equal(a->pod, b->pod) && str_equal(a->pod_namespace, b->pod_namespace);
}

static bool grant_has_id(const struct grant *grant, const char *id)
{
    for (size_t i = 0; i < grant->n_ids; i++)
        if (str_equal(grant->ids[i], id))
            return true;
    return false;
}

static int begin_adoption(const struct ledger_view *view, const struct ledger_entry *listed,
                          struct ledger_changes *changes, struct grant **ret_grant)
{
    const struct kubeletcheckpoint_entry *entry = find_entry(view->checkpoint, listed);
    struct grant *grant = &changes->adopted[changes->n_adopted];

    *grant = (struct grant){.granted_at_s = view->now_s, .is_adopted = true};
    grant->resource = strdup(listed->resource);
    if (!grant->resource)
        return -ENOMEM;
    snprintf(grant->boot, sizeof(grant->boot), "%s", view->boot);
    if (entry)
        memcpy(grant->id, entry->grant, sizeof(grant->id)); /* its directory keeps its name */
    changes->adopted_from[changes->n_adopted++] = listed;
    *ret_grant = grant;
    return 0;
}

static int adopt(const struct ledger_view *view, const struct ledger_entry *listed,
                 struct ledger_changes *changes)
{
    struct grant *grant = NULL;
    int r = 0;

    for (size_t i = changes->n_adopted; i-- > 0 && !grant;)
        if (is_same_container(changes->adopted_from[i], listed))
            grant = &changes->adopted[i];
    if (!grant)
        r = begin_adoption(view, listed, changes, &grant);
    if (r == 0 && !grant_has_id(grant, listed->id)) /* once per NUMA node of a device */
        r = grant_add_id(grant, listed->id);
    return r;
}

static int find_adopted(const struct ledger *ledger, const struct ledger_view *view,
                        struct ledger_changes *changes)
{
    size_t n = 0;
    int r = 0;

    for (size_t i = 0; i < view->n_entries; i++)
        n += is_to_adopt(ledger, view, &view->entries[i]);
    changes->adopted = calloc(n + 1, sizeof(*changes->adopted));
    changes->adopted_from = calloc(n + 1, sizeof(*changes->adopted_from));
    if (!changes->adopted || !changes->adopted_from)
        return -ENOMEM;
    for (size_t i = 0; r == 0 && n && i < view->n_entries; i++)
        if (is_to_adopt(ledger, view, &view->entries[i]))
            r = adopt(view, &view->entries[i], changes);
    return r;
}

int ledger_observe(struct ledger *ledger, const struct ledger_view *view,
                   struct ledger_changes *ret_changes)
{
    cleanup(ledger_changes_deinit) struct ledger_changes changes = LEDGER_CHANGES_INIT;
    int r = 0;

    look_into_checkpoint(ledger, view->checkpoint);
    look_into_list(ledger, view);
    for (size_t i = 0; r == 0 && i < ledger->n_grants; i++)
        r = judge(ledger->grants[i], view, &changes);
    if (r == 0)
        r = find_adopted(ledger, view, &changes);
    if (r < 0)
        return r;
    *ret_changes = changes;
    changes = (struct ledger_changes)LEDGER_CHANGES_INIT;
    return 0;
}

int ledger_find_excess(struct ledger *ledger, const struct ledger_view *view,
                       struct ledger_changes *ret_changes)
{
    cleanup(ledger_changes_deinit) struct ledger_changes changes = LEDGER_CHANGES_INIT;
    const struct ledger_backend *backend = view->backend;
    const size_t n_kept = view->checkpoint ? LEDGER_ENDING_MAX : LEDGER_ENDING_LAST;
    size_t n_ending = ledger_count(ledger).n_ending;
    int r = 0;

    look_into_checkpoint(ledger, view->checkpoint);
    for (size_t i = 0; r == 0 && n_ending > n_kept && i < ledger->n_grants; i++) {
        const struct ledger_grant *grant = ledger->grants[i];

        if (grant->n_held || grant->is_in_checkpoint || !is_settled(grant, view->began_ms) ||
            backend->is_held(grant->grant.id, backend->userdata))
            continue;
        r = add_freed(&changes, grant);
        n_ending--;
    }
    if (r < 0)
        return r;
    *ret_changes = changes;
    changes = (struct ledger_changes)LEDGER_CHANGES_INIT;
    return 0;
}

/* --- questions --- */

struct ledger_counts ledger_count(const struct ledger *ledger)
{
    struct ledger_counts counts = {0, 0, 0};

    for (size_t i = 0; i < ledger->n_grants; i++) {
        counts.n_current += ledger->grants[i]->n_held != 0;
        counts.n_ending += ledger->grants[i]->n_held == 0;
        counts.n_adopted += ledger->grants[i]->grant.is_adopted;
    }
    return counts;
}

static int check_order(const struct ledger *ledger, struct error *err)
{
    for (size_t i = 1; i < ledger->n_holdings; i++) {
        const struct ledger_holding *a = &ledger->holdings[i - 1], *b = a + 1;

        if (compare(a->resource, a->id, b->resource, b->id) >= 0)
            return error_set(err, -EINVAL, "%s %s has two current grants", b->resource, b->id);
    }
    return 0;
}

/* The holder of each id of a grant is this one or a newer one, and the counts match. */
static int check_grant(const struct ledger *ledger, size_t position, struct error *err)
{
    const struct ledger_grant *grant = ledger->grants[position];
    size_t n_held = 0;

    for (size_t i = 0; i < ledger->n_holdings; i++)
        n_held += ledger->holdings[i].holder == grant;
    if (n_held != grant->n_held)
        return error_set(err, -EINVAL, "grant %s holds %zu ids and counts %zu", grant->grant.id,
                         n_held, grant->n_held);
    for (size_t i = 0; i < grant->grant.n_ids; i++) {
        const struct ledger_grant *holder =
            ledger_holder(ledger, grant->grant.resource, grant->grant.ids[i]);

        for (size_t k = 0; holder && k < position; k++)
            if (ledger->grants[k] == holder)
                return error_set(err, -EINVAL, "%s is held by %s, which is older than %s",
                                 grant->grant.ids[i], holder->grant.id, grant->grant.id);
    }
    if (find(ledger, grant->grant.id) != grant)
        return error_set(err, -EINVAL, "two grants have the id %s", grant->grant.id);
    return 0;
}

int ledger_check(const struct ledger *ledger, struct error *err)
{
    int r = check_order(ledger, err);

    for (size_t i = 0; r == 0 && i < ledger->n_grants; i++)
        r = check_grant(ledger, i, err);
    return r;
}
