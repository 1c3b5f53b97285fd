// SPDX-License-Identifier: Apache-2.0
#include "grant/ledger.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "grant/journal.h"

#define GPU "nvidia.com/gpu"

/* "a b" becomes a grant of ids "a" and "b"; its own id ends in `number`. */
static void grant_ids(struct ledger *ledger, unsigned number, const char *ids, uint64_t now_ms)
{
    struct grant grant = {.resource = strdup(GPU)};
    char id[2] = "";

    snprintf(grant.id, sizeof(grant.id), "%016x", number);
    for (; *ids; ids++) {
        id[0] = *ids;
        if (*ids != ' ')
            assert_int_equal(grant_add_id(&grant, id), 0);
    }
    assert_int_equal(ledger_add(ledger, &grant, now_ms), 0);
    grant_deinit(&grant);
}

static void grant_answered(struct ledger *ledger, unsigned number, const char *ids, uint64_t now_ms)
{
    char id[GRANT_ID_SIZE];

    grant_ids(ledger, number, ids, now_ms);
    snprintf(id, sizeof(id), "%016x", number);
    ledger_answered(ledger, id, now_ms);
}

/* Which grant holds an id: its number, 0 for none. */
static unsigned long holder(const struct ledger *ledger, const char *id)
{
    const struct ledger_grant *found = ledger_holder(ledger, GPU, id);

    assert_int_equal(ledger_check(ledger, NULL), 0);
    return found ? strtoul(found->grant.id, NULL, 16) : 0;
}

struct world {
    struct ledger_entry entries[8];
    char ids[8][2];
    size_t n;
    struct kubeletcheckpoint *checkpoint; /* NULL = an empty one */
    bool is_unreadable;
    const struct ledger_backend *backend;
};

/* The pods' ids: "a b". Applies what follows, and returns the freed and "+n" adopted as words. */
static const char *observe(struct ledger *ledger, uint64_t began_ms, const char *ids,
                           const struct world *given)
{
    static char words[256];
    cleanup(ledger_changes_deinit) struct ledger_changes changes = LEDGER_CHANGES_INIT;
    static const struct kubeletcheckpoint empty = KUBELETCHECKPOINT_INIT;
    struct world world = given ? *given : (struct world){.n = 0};
    struct ledger_view view = {.began_ms = began_ms, .boot = "b", .now_s = 5};

    for (; *ids; ids++)
        if (*ids != ' ') {
            world.ids[world.n][0] = *ids;
            world.ids[world.n][1] = '\0';
            world.entries[world.n] =
                (struct ledger_entry){GPU, world.ids[world.n], "default", "pod", "main"};
            world.n++;
        }
    view.entries = world.entries;
    view.n_entries = world.n;
    if (!world.is_unreadable)
        view.checkpoint = world.checkpoint ? world.checkpoint : &empty;
    view.backend = world.backend ? world.backend : &ledger_backend_none;
    assert_int_equal(ledger_observe(ledger, &view, &changes), 0);
    words[0] = '\0';
    for (size_t i = 0; i < changes.n_freed; i++) {
        snprintf(words + strlen(words), sizeof(words) - strlen(words), "%s%lu", *words ? " " : "",
                 strtoul(changes.freed[i], NULL, 16));
        assert_true(ledger_free(ledger, changes.freed[i]));
    }
    for (size_t i = 0; i < changes.n_adopted; i++) {
        struct grant *grant = &changes.adopted[i];

        snprintf(words + strlen(words), sizeof(words) - strlen(words), "%s+", *words ? " " : "");
        for (size_t k = 0; k < grant->n_ids; k++)
            strncat(words, grant->ids[k], sizeof(words) - strlen(words) - 1);
        if (!*grant->id)
            snprintf(grant->id, sizeof(grant->id), "%016zx", 0xa0 + i);
        assert_int_equal(ledger_add(ledger, grant, began_ms), 0);
        ledger_answered(ledger, grant->id, began_ms);
    }
    assert_int_equal(ledger_check(ledger, NULL), 0);
    return words;
}

static void test_the_newest_grant_holds_an_id(void **state)
{
    struct ledger ledger = LEDGER_INIT;

    grant_answered(&ledger, 1, "a b", 0);
    grant_answered(&ledger, 2, "b c", 0);
    assert_int_equal(holder(&ledger, "a"), 1);
    assert_int_equal(holder(&ledger, "b"), 2);
    assert_int_equal(ledger_count(&ledger).n_ending, 0);
    grant_answered(&ledger, 3, "a", 0);
    assert_int_equal(holder(&ledger, "a"), 3);
    assert_int_equal(ledger_count(&ledger).n_ending, 1);
    assert_int_equal(ledger_count(&ledger).n_current, 2);
    /* The one that ended does not come back when its successor goes. */
    assert_true(ledger_free(&ledger, "0000000000000003"));
    assert_int_equal(holder(&ledger, "a"), 0);
    ledger_deinit(&ledger);
}

static void test_one_id_under_two_resources_is_two(void **state)
{
    struct ledger ledger = LEDGER_INIT;
    struct grant grant = {.id = "00000000000000ff", .resource = strdup("nvidia.com/gpu.shared")};

    grant_answered(&ledger, 1, "a", 0);
    assert_int_equal(grant_add_id(&grant, "a"), 0);
    assert_int_equal(ledger_add(&ledger, &grant, 0), 0);
    assert_int_equal(holder(&ledger, "a"), 1);
    assert_non_null(ledger_holder(&ledger, "nvidia.com/gpu.shared", "a"));
    grant_deinit(&grant);
    ledger_deinit(&ledger);
}

static void test_an_id_given_twice_in_one_grant_counts_once(void **state)
{
    struct ledger ledger = LEDGER_INIT;

    grant_answered(&ledger, 1, "a a", 0);
    assert_int_equal(holder(&ledger, "a"), 1);
    assert_int_equal(ledger_find(&ledger, "0000000000000001")->n_held, 1);
    ledger_deinit(&ledger);
}

static void test_two_late_lists_free(void **state)
{
    static const struct {
        const char *what;
        uint64_t first_ms, second_ms;
        bool listed_between;
        const char *freed;
    } rows[] = {
        {"two lists that began late enough", 11000, 11001, false, "1"},
        {"the first began too early", 10999, 11001, false, ""},
        {"both before the answer", 0, 500, false, ""},
        {"seen in between", 11000, 30000, true, ""},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct ledger ledger = LEDGER_INIT;

        grant_answered(&ledger, 1, "a b", 1000);
        assert_string_equal(observe(&ledger, rows[i].first_ms, "", NULL), "");
        if (rows[i].listed_between)
            assert_string_equal(observe(&ledger, rows[i].first_ms + 1, "b", NULL), "");
        assert_string_equal(observe(&ledger, rows[i].second_ms, "", NULL), rows[i].freed);
        ledger_deinit(&ledger);
    }
}

static void test_a_grant_that_is_not_answered_is_not_judged(void **state)
{
    struct ledger ledger = LEDGER_INIT;

    grant_ids(&ledger, 1, "a", 0);
    for (uint64_t ms = 20000; ms < 60000; ms += 10000)
        assert_string_equal(observe(&ledger, ms, "", NULL), "");
    ledger_answered(&ledger, "0000000000000001", 60000);
    assert_string_equal(observe(&ledger, 69999, "", NULL), "");
    assert_string_equal(observe(&ledger, 70000, "", NULL), "");
    assert_string_equal(observe(&ledger, 70001, "", NULL), "1");
    ledger_deinit(&ledger);
}

static bool holds_one(const char *grant_id, void *userdata)
{
    return str_equal(grant_id, userdata);
}

static void test_a_process_that_uses_it_keeps_it(void **state)
{
    char id[] = "0000000000000001";
    struct ledger_backend backend = {holds_one, id};
    struct world world = {.backend = &backend};
    struct ledger ledger = LEDGER_INIT;

    grant_answered(&ledger, 1, "a", 0);
    grant_answered(&ledger, 2, "b", 0);
    assert_string_equal(observe(&ledger, 10000, "", &world), "");
    assert_string_equal(observe(&ledger, 20000, "", &world), "2");
    backend.userdata = (char[]){"none"};
    assert_string_equal(observe(&ledger, 20001, "", &world), "1");
    ledger_deinit(&ledger);
}

/* The main container took the init container's id over: the list says nothing of the older one. */
static void test_an_ending_grant_goes_while_its_ids_are_held(void **state)
{
    struct ledger ledger = LEDGER_INIT;

    grant_answered(&ledger, 1, "a", 0);
    grant_answered(&ledger, 2, "a", 0);
    assert_string_equal(observe(&ledger, 10000, "a", NULL), "");
    assert_string_equal(observe(&ledger, 20000, "a", NULL), "1");
    assert_int_equal(holder(&ledger, "a"), 2);
    ledger_deinit(&ledger);
}

static void test_many_are_freed_at_once(void **state)
{
    const char ids[][GRANT_ID_SIZE] = {"0000000000000002", "00000000000000ff", "0000000000000003",
                                       "0000000000000002"};
    struct ledger ledger = LEDGER_INIT;

    grant_answered(&ledger, 1, "a b", 0);
    grant_answered(&ledger, 2, "b", 0);
    grant_answered(&ledger, 3, "c", 0);
    grant_answered(&ledger, 4, "d", 0);
    ledger_free_many(&ledger, ids, ARRAY_SIZE(ids)); /* one is unknown, one is there twice */
    assert_int_equal(ledger.n_grants, 2);
    assert_int_equal(holder(&ledger, "a"), 1);
    assert_int_equal(holder(&ledger, "b"), 0);
    assert_int_equal(holder(&ledger, "c"), 0);
    assert_int_equal(holder(&ledger, "d"), 4);
    assert_null(ledger_find(&ledger, "0000000000000003"));
    ledger_deinit(&ledger);
}

/* --- the kubelet's checkpoint --- */

static void add_entry(struct kubeletcheckpoint *checkpoint, const char *uid, const char *container,
                      const char *ids, const char *grant)
{
    struct kubeletcheckpoint_entry *entry = array_push(&checkpoint->entries, &checkpoint->n_entries,
                                                       &checkpoint->capacity, sizeof(*entry));

    snprintf(entry->pod_uid, sizeof(entry->pod_uid), "%s", uid);
    snprintf(entry->container, sizeof(entry->container), "%s", container);
    snprintf(entry->grant, sizeof(entry->grant), "%s", grant);
    entry->resource = strdup(GPU);
    entry->ids = calloc(8, sizeof(*entry->ids));
    for (; *ids; ids++)
        if (*ids != ' ')
            entry->ids[entry->n_ids++] = strndup(ids, 1);
}

/* The lists leave init containers out, and are empty for a moment after the kubelet's restart. */
static void test_what_the_checkpoint_names_is_kept(void **state)
{
    struct kubeletcheckpoint checkpoint = KUBELETCHECKPOINT_INIT;
    struct world world = {.checkpoint = &checkpoint};
    struct ledger ledger = LEDGER_INIT;

    grant_answered(&ledger, 1, "a b", 0);
    grant_answered(&ledger, 2, "a", 0);
    add_entry(&checkpoint, "uid-1", "init", "a b", "0000000000000001");
    add_entry(&checkpoint, "uid-1", "main", "a", "0000000000000002");
    for (uint64_t ms = 10000; ms < 50000; ms += 10000)
        assert_string_equal(observe(&ledger, ms, "", &world), "");
    assert_string_equal(ledger_find(&ledger, "0000000000000001")->pod_uid, "uid-1");
    assert_string_equal(ledger_find(&ledger, "0000000000000001")->container, "init");
    /* The pod ended, and the kubelet wrote its file again. */
    kubeletcheckpoint_deinit(&checkpoint);
    assert_string_equal(observe(&ledger, 50000, "", &world), "1 2");
    ledger_deinit(&ledger);
}

/* It alone has the init container that runs. */
static void test_nothing_is_freed_while_the_checkpoint_is_unreadable(void **state)
{
    struct world unreadable = {.is_unreadable = true};
    struct ledger ledger = LEDGER_INIT;

    grant_answered(&ledger, 1, "a", 0);
    for (uint64_t ms = 10000; ms < 50000; ms += 10000)
        assert_string_equal(observe(&ledger, ms, "", &unreadable), "");
    /* Nor did those lists count. */
    assert_string_equal(observe(&ledger, 50000, "", NULL), "");
    assert_string_equal(observe(&ledger, 60000, "", &unreadable), "");
    assert_string_equal(observe(&ledger, 70000, "", NULL), "1");
    ledger_deinit(&ledger);
}

static void test_what_only_an_old_checkpoint_names_is_counted(void **state)
{
    cleanup(ledger_changes_deinit) struct ledger_changes changes = LEDGER_CHANGES_INIT;
    struct kubeletcheckpoint checkpoint = KUBELETCHECKPOINT_INIT;
    struct ledger_view view = {
        .began_ms = 20000, .checkpoint = &checkpoint, .backend = &ledger_backend_none, .boot = ""};
    struct ledger ledger = LEDGER_INIT;

    grant_answered(&ledger, 1, "a", 0);
    add_entry(&checkpoint, "uid-1", "main", "a", "0000000000000001");
    assert_int_equal(ledger_observe(&ledger, &view, &changes), 0);
    assert_int_equal(changes.n_only_in_checkpoint, 0);
    ledger_changes_deinit(&changes);
    assert_int_equal(ledger_observe(&ledger, &view, &changes), 0);
    assert_int_equal(changes.n_only_in_checkpoint, 1);
    assert_int_equal(changes.n_freed, 0);
    kubeletcheckpoint_deinit(&checkpoint);
    ledger_deinit(&ledger);
}

/* Pods come and go on one device, and the kubelet's lists do not arrive. */
static void test_ending_grants_do_not_pile_up(void **state)
{
    char oldest_held[] = "0000000000000001";
    struct ledger_backend backend = {holds_one, oldest_held};
    struct kubeletcheckpoint checkpoint = KUBELETCHECKPOINT_INIT;
    struct ledger_view view = {.began_ms = 20000, .backend = &backend, .boot = ""};
    cleanup(ledger_changes_deinit) struct ledger_changes none = LEDGER_CHANGES_INIT,
                                                         excess = LEDGER_CHANGES_INIT;
    struct ledger ledger = LEDGER_INIT;

    for (unsigned i = 1; i <= LEDGER_ENDING_MAX + 10; i++)
        grant_answered(&ledger, i, "a", 0);
    grant_answered(&ledger, 0xffffff, "a", 15000);
    add_entry(&checkpoint, "uid-1", "init", "a", "0000000000000003");
    assert_int_equal(ledger_find_excess(&ledger, &view, &none), 0);
    assert_int_equal(none.n_freed, 0); /* what the checkpoint would name is unknown: only beyond
                                          LEDGER_ENDING_LAST */
    view.checkpoint = &checkpoint;
    assert_int_equal(ledger_find_excess(&ledger, &view, &excess), 0);
    assert_int_equal(excess.n_freed, 10);
    assert_string_equal(excess.freed[0], "0000000000000002");
    assert_string_equal(excess.freed[1], "0000000000000004");
    ledger_free_many(&ledger, (const char(*)[GRANT_ID_SIZE])excess.freed, excess.n_freed);
    assert_int_equal(ledger_count(&ledger).n_ending, LEDGER_ENDING_MAX);
    assert_int_equal(ledger_count(&ledger).n_current, 1);
    assert_non_null(ledger_find(&ledger, oldest_held));
    kubeletcheckpoint_deinit(&checkpoint);
    ledger_deinit(&ledger);
}

/* --- adoption --- */

static void test_ids_that_pods_hold_from_before_are_adopted(void **state)
{
    struct kubeletcheckpoint checkpoint = KUBELETCHECKPOINT_INIT;
    struct world world = {.checkpoint = &checkpoint};
    const struct ledger_grant *adopted;
    struct ledger ledger = LEDGER_INIT;

    add_entry(&checkpoint, "uid-9", "main", "b c", "");
    grant_answered(&ledger, 1, "a", 0);
    /* One container's ids are one grant, and a device with two NUMA nodes is listed twice. */
    assert_string_equal(observe(&ledger, 100, "a b c c", &world), "+bc");
    adopted = ledger_holder(&ledger, GPU, "c");
    assert_true(adopted->grant.is_adopted);
    assert_int_equal(adopted->grant.n_devices, 0);
    assert_string_equal(adopted->grant.boot, "b");
    assert_int_equal(ledger_count(&ledger).n_adopted, 1);
    assert_string_equal(observe(&ledger, 200, "a b c", &world), "");
    assert_string_equal(adopted->pod_uid, "uid-9");
    /* It ends as any other. */
    kubeletcheckpoint_deinit(&checkpoint);
    assert_string_equal(observe(&ledger, 20000, "a", &world), "");
    assert_string_equal(observe(&ledger, 30000, "a", &world), "160");
    ledger_deinit(&ledger);
}

/* The log was lost, but the kubelet kept our answer: the pod's directory keeps its name. */
static void test_an_adopted_grant_keeps_its_id(void **state)
{
    struct kubeletcheckpoint checkpoint = KUBELETCHECKPOINT_INIT;
    struct world world = {.checkpoint = &checkpoint};
    struct ledger ledger = LEDGER_INIT;

    add_entry(&checkpoint, "uid-9", "init", "a", "0000000000000006");
    add_entry(&checkpoint, "uid-9", "main", "a", "0000000000000007");
    assert_string_equal(observe(&ledger, 100, "a", &world), "+a");
    assert_int_equal(holder(&ledger, "a"), 7);
    kubeletcheckpoint_deinit(&checkpoint);
    ledger_deinit(&ledger);
}

/* A rollback: our log is from before, and the kubelet's checkpoint names a grant that it never saw.
 */
static void test_a_log_that_lags_behind_is_corrected(void **state)
{
    struct kubeletcheckpoint checkpoint = KUBELETCHECKPOINT_INIT;
    struct world world = {.checkpoint = &checkpoint};
    struct ledger ledger = LEDGER_INIT;

    grant_answered(&ledger, 1, "a", 0);
    add_entry(&checkpoint, "uid-9", "main", "a", "0000000000000009");
    assert_string_equal(observe(&ledger, 9000, "a", &world), ""); /* it may be a new answer */
    assert_string_equal(observe(&ledger, 10000, "a", &world), "+a");
    assert_int_equal(holder(&ledger, "a"), 9);
    assert_int_equal(ledger_count(&ledger).n_ending, 1);
    kubeletcheckpoint_deinit(&checkpoint);
    ledger_deinit(&ledger);
}

/* Our release, one without grants, and ours again: our log still has the pods of before. */
static void test_ids_from_a_release_without_grants_replace_stale_grants(void **state)
{
    struct kubeletcheckpoint checkpoint = KUBELETCHECKPOINT_INIT;
    struct world world = {.checkpoint = &checkpoint};
    struct ledger ledger = LEDGER_INIT;

    grant_answered(&ledger, 1, "a b", 0);
    add_entry(&checkpoint, "uid-9", "main", "a", "");
    assert_string_equal(observe(&ledger, 9000, "a", &world), ""); /* it may be a new answer */
    assert_string_equal(observe(&ledger, 10000, "a", &world), "+a");
    assert_int_equal(holder(&ledger, "a"), 0xa0);
    /* Once, and what no pod holds ends. */
    assert_string_equal(observe(&ledger, 30000, "a", &world), "");
    assert_string_equal(observe(&ledger, 40000, "a", &world), "1");
    assert_string_equal(observe(&ledger, 50000, "a", &world), "");
    assert_int_equal(holder(&ledger, "a"), 0xa0);
    kubeletcheckpoint_deinit(&checkpoint);
    ledger_deinit(&ledger);
}

/* The entry of an ended pod of that release, and a pod of ours with the same id and container. */
static void test_a_stale_entry_without_a_grant_replaces_no_live_grant(void **state)
{
    struct kubeletcheckpoint checkpoint = KUBELETCHECKPOINT_INIT;
    struct world world = {.checkpoint = &checkpoint};
    struct ledger ledger = LEDGER_INIT;

    grant_answered(&ledger, 1, "a", 0);
    add_entry(&checkpoint, "uid-8", "main", "a", "");
    add_entry(&checkpoint, "uid-9", "main", "a", "0000000000000001");
    for (uint64_t ms = 10000; ms < 50000; ms += 10000)
        assert_string_equal(observe(&ledger, ms, "a", &world), "");
    assert_int_equal(holder(&ledger, "a"), 1);
    kubeletcheckpoint_deinit(&checkpoint);
    ledger_deinit(&ledger);
}

/* --- replay --- */

static void test_replay_gives_the_same_holders(void **state)
{
    struct ledger ledger = LEDGER_INIT, again = LEDGER_INIT;
    cleanup_text struct text records = TEXT_INIT, twice = TEXT_INIT;
    const void *payload;
    size_t at = 0, size;

    grant_answered(&ledger, 1, "a b", 0);
    grant_answered(&ledger, 2, "b", 0);
    grant_answered(&ledger, 3, "c", 0);
    grant_answered(&ledger, 4, "d e", 0);
    grant_answered(&ledger, 5, "d", 0);
    assert_true(ledger_free(&ledger, "0000000000000003"));
    assert_true(ledger_free(&ledger, "0000000000000005")); /* its id does not fall back to 4 */
    ledger_format(&ledger, &records);
    while (journal_next(records.data, records.length, &at, &payload, &size)) {
        cleanup(grant_record_deinit) struct grant_record record = GRANT_RECORD_INIT;

        assert_int_equal(grant_record_parse(payload, size, &record), 0);
        assert_int_equal(ledger_replay(&again, &record, 0), 0);
        assert_int_equal(ledger_replay(&again, &record, 0), 0); /* once more changes nothing */
    }
    assert_int_equal(holder(&again, "a"), 1);
    assert_int_equal(holder(&again, "b"), 2);
    assert_int_equal(holder(&again, "c"), 0);
    assert_int_equal(holder(&again, "d"), 0);
    assert_int_equal(holder(&again, "e"), 4);
    ledger_format(&again, &twice);
    assert_int_equal(twice.length, records.length);
    assert_memory_equal(twice.data, records.data, records.length);
    ledger_deinit(&ledger);
    ledger_deinit(&again);
}

static void test_what_is_not_in_the_journal_is_inherited(void **state)
{
    struct ledger ledger = LEDGER_INIT, again = LEDGER_INIT;

    grant_answered(&ledger, 1, "a", 7000);
    grant_ids(&ledger, 2, "b", 7000);
    grant_answered(&again, 1, "a", 9000);
    grant_answered(&again, 2, "b", 9000);
    grant_answered(&again, 3, "c", 9000);
    ledger_inherit(&again, &ledger);
    assert_int_equal(ledger_find(&again, "0000000000000001")->since_ms, 7000);
    assert_true(ledger_find(&again, "0000000000000002")->since_ms == UINT64_MAX);
    assert_int_equal(ledger_find(&again, "0000000000000003")->since_ms, 9000);
    ledger_deinit(&ledger);
    ledger_deinit(&again);
}

static void test_what_is_held_is_listed_in_order(void **state)
{
    struct ledger ledger = LEDGER_INIT;
    cleanup_text struct text text = TEXT_INIT;
    struct ledger_held held;
    size_t position = 0;

    (void)state;
    grant_answered(&ledger, 1, "c b", 0);
    grant_answered(&ledger, 2, "a b", 0); /* takes b */
    while (ledger_next_held(&ledger, &position, &held))
        text_addf(&text, "%s:%c ", held.id, held.grant->id[GRANT_ID_SIZE - 2]);
    assert_string_equal(text_string(&text), "a:2 b:2 c:1 ");
    ledger_deinit(&ledger);
}

static bool has_device(const struct ledger *ledger, const char *uuid)
{
    size_t position = 0;

    return ledger_next_of_device(ledger, uuid, &position) != NULL;
}

/* Slices of one GPU are ids of one device, whatever the resource and the case; an ending grant may
 * have processes still. */
static void test_a_device_is_in_use_until_its_last_grant_ends(void **state)
{
    struct grant slice = {.id = "0000000000000007", .resource = strdup("nvidia.com/gpu.shared")};
    struct ledger ledger = LEDGER_INIT;

    (void)state;
    assert_false(has_device(&ledger, "GPU-1"));
    assert_int_equal(grant_add_id(&slice, "GPU-1::12"), 0);
    assert_int_equal(ledger_add(&ledger, &slice, 0), 0);
    assert_true(has_device(&ledger, "GPU-1"));
    assert_true(has_device(&ledger, "gpu-1"));
    assert_false(has_device(&ledger, "GPU-12"));
    assert_false(has_device(&ledger, "GPU"));
    assert_false(has_device(&ledger, ""));
    assert_true(ledger_free(&ledger, slice.id));
    assert_false(has_device(&ledger, "GPU-1"));

    grant_answered(&ledger, 1, "a", 0);
    grant_answered(&ledger, 2, "a", 0); /* the first one is ending */
    assert_true(ledger_free(&ledger, "0000000000000002"));
    assert_true(has_device(&ledger, "a"));
    assert_true(ledger_free(&ledger, "0000000000000001"));
    assert_false(has_device(&ledger, "a"));
    grant_deinit(&slice);
    ledger_deinit(&ledger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_newest_grant_holds_an_id),
        cmocka_unit_test(test_one_id_under_two_resources_is_two),
        cmocka_unit_test(test_an_id_given_twice_in_one_grant_counts_once),
        cmocka_unit_test(test_two_late_lists_free),
        cmocka_unit_test(test_a_grant_that_is_not_answered_is_not_judged),
        cmocka_unit_test(test_a_process_that_uses_it_keeps_it),
        cmocka_unit_test(test_an_ending_grant_goes_while_its_ids_are_held),
        cmocka_unit_test(test_many_are_freed_at_once),
        cmocka_unit_test(test_what_the_checkpoint_names_is_kept),
        cmocka_unit_test(test_nothing_is_freed_while_the_checkpoint_is_unreadable),
        cmocka_unit_test(test_what_only_an_old_checkpoint_names_is_counted),
        cmocka_unit_test(test_ending_grants_do_not_pile_up),
        cmocka_unit_test(test_ids_that_pods_hold_from_before_are_adopted),
        cmocka_unit_test(test_an_adopted_grant_keeps_its_id),
        cmocka_unit_test(test_a_log_that_lags_behind_is_corrected),
        cmocka_unit_test(test_ids_from_a_release_without_grants_replace_stale_grants),
        cmocka_unit_test(test_a_stale_entry_without_a_grant_replaces_no_live_grant),
        cmocka_unit_test(test_replay_gives_the_same_holders),
        cmocka_unit_test(test_what_is_not_in_the_journal_is_inherited),
        cmocka_unit_test(test_what_is_held_is_listed_in_order),
        cmocka_unit_test(test_a_device_is_in_use_until_its_last_grant_ends),
    };

    return cmocka_run_group_tests_name("ledger", tests, NULL, NULL);
}
