// SPDX-License-Identifier: Apache-2.0
#include "grant/grantstore.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "grant/grantdir.h"
#include "grant/test-tempdir.h"

#define GPU "nvidia.com/gpu"

static int commit(struct grantstore *store, struct grantstore_notes *notes)
{
    struct grantstore_notes unused;
    struct grantstore_commit *one = grantstore_begin(store);

    assert_non_null(one);
    assert_null(grantstore_begin(store));
    grantstore_run(one);
    return grantstore_finish(store, one, 0, notes ? notes : &unused, NULL);
}

static void commit_all(struct grantstore *store)
{
    while (grantstore_has_work(store))
        assert_true(commit(store, NULL) >= 0);
}

static void open_store(struct grantstore *store, bool keeps_directories)
{
    const struct grantstore_setup setup = {
        .folder = tempdir, .machine = "m", .boot = "b", .keeps_directories = keeps_directories};

    assert_int_equal(grantstore_init(store, &setup, NULL), 0);
    commit_all(store);
}

static uint64_t add(struct grantstore *store, unsigned number, const char *id)
{
    struct grant grant = {.boot = "b"};
    uint64_t ticket;

    snprintf(grant.id, sizeof(grant.id), "%016x", number);
    grant.resource = strdup(GPU);
    assert_int_equal(grant_add_id(&grant, id), 0);
    assert_int_equal(grantstore_add(store, &grant, 0, &ticket), 0);
    grant_deinit(&grant);
    return ticket;
}

static unsigned long holder(const struct grantstore *store, const char *id)
{
    const struct ledger_grant *found = ledger_holder(&store->ledger, GPU, id);

    assert_int_equal(ledger_check(&store->ledger, NULL), 0);
    return found ? strtoul(found->grant.id, NULL, 16) : 0;
}

static unsigned long holder_after_restart(const char *id)
{
    struct grantstore store;
    unsigned long found;

    open_store(&store, false);
    found = holder(&store, id);
    grantstore_deinit(&store);
    return found;
}

static void test_a_grant_is_durable_after_its_commit(void **state)
{
    struct grantstore store;
    uint64_t one, two;

    open_store(&store, false);
    one = add(&store, 1, "a");
    two = add(&store, 2, "b");
    assert_false(grantstore_is_durable(&store, one));
    assert_int_equal(commit(&store, NULL), 0);
    assert_true(grantstore_is_durable(&store, two));
    assert_int_equal(store.n_syncs, 1); /* many grants, one sync */
    grantstore_deinit(&store);
    assert_int_equal(holder_after_restart("a"), 1);
    assert_int_equal(holder_after_restart("b"), 2);
}

static void test_what_comes_during_a_commit_waits_for_the_next(void **state)
{
    struct grantstore_notes notes;
    struct grantstore_commit *first;
    struct grantstore store;
    uint64_t one, two;

    open_store(&store, false);
    one = add(&store, 1, "a");
    first = grantstore_begin(&store);
    two = add(&store, 2, "a");
    grantstore_run(first);
    assert_int_equal(grantstore_finish(&store, first, 0, &notes, NULL), 0);
    assert_true(grantstore_is_durable(&store, one));
    assert_false(grantstore_is_durable(&store, two));
    assert_true(grantstore_has_work(&store));
    assert_int_equal(commit(&store, NULL), 0);
    assert_true(grantstore_is_durable(&store, two));
    grantstore_deinit(&store);
    assert_int_equal(holder_after_restart("a"), 2);
}

static void test_freed_stays_freed(void **state)
{
    struct grantstore store;

    open_store(&store, false);
    add(&store, 1, "a");
    assert_int_equal(grantstore_free(&store, "0000000000000001"), 0);
    commit_all(&store);
    grantstore_deinit(&store);
    assert_int_equal(holder_after_restart("a"), 0);
}

/* A freed grant is adopted again under its id: the kubelet's checkpoint had it. */
static void test_freed_and_granted_again_is_there(void **state)
{
    const char ids[][GRANT_ID_SIZE] = {"0000000000000001", "0000000000000002"};
    struct grantstore store;

    open_store(&store, false);
    add(&store, 1, "a");
    add(&store, 2, "b");
    add(&store, 3, "c");
    assert_int_equal(grantstore_free_many(&store, ids, 2), 0);
    add(&store, 1, "a");
    commit_all(&store);
    grantstore_deinit(&store);
    assert_int_equal(holder_after_restart("a"), 1);
    assert_int_equal(holder_after_restart("b"), 0);
    assert_int_equal(holder_after_restart("c"), 3);
}

static void test_an_id_is_given_once(void **state)
{
    struct grant grant = {.id = "0000000000000001", .resource = strdup(GPU)};
    struct grantstore store;
    uint64_t ticket;

    open_store(&store, false);
    add(&store, 1, "a");
    assert_int_equal(grantstore_add(&store, &grant, 0, &ticket), LEDGER_DUPLICATE);
    grant_deinit(&grant);
    commit_all(&store);
    grantstore_deinit(&store);
}

/* The log is rewritten when most of it is history, with the same meaning. */
static void test_history_is_compacted(void **state)
{
    struct grantstore store;
    uint64_t largest = 0;

    open_store(&store, false);
    add(&store, 0xffffff, "kept");
    for (unsigned i = 1; i <= 20000; i++) {
        char id[GRANT_ID_SIZE];

        snprintf(id, sizeof(id), "%016x", i);
        add(&store, i, "a");
        assert_int_equal(grantstore_free(&store, id), 0);
        if (i % 100 == 0)
            assert_int_equal(commit(&store, NULL), 0);
        largest = store.size > largest ? store.size : largest;
    }
    assert_true(largest > 200000 && largest < 600000);
    assert_true(store.size < largest);
    grantstore_deinit(&store);
    assert_int_equal(holder_after_restart("kept"), 0xffffff);
    assert_int_equal(holder_after_restart("a"), 0);
}

static void test_a_failed_commit_is_made_good(void **state)
{
    struct rlimit before, limit;
    struct grantstore store;
    uint64_t one, two;

    open_store(&store, false);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    limit = (struct rlimit){64, before.rlim_max};
    one = add(&store, 1, "a");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_int_equal(commit(&store, NULL), -EFBIG);
    two = add(&store, 2, "b"); /* granting goes on */
    assert_int_equal(commit(&store, NULL), -EFBIG);
    assert_false(grantstore_is_durable(&store, one));
    assert_int_equal(holder_after_restart("a"), 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    commit_all(&store);
    assert_true(grantstore_is_durable(&store, two));
    assert_int_equal(store.n_failed_syncs, 2);
    grantstore_deinit(&store);
    assert_int_equal(holder_after_restart("a"), 1);
    assert_int_equal(holder_after_restart("b"), 2);
}

static void limit_files(rlim_t size)
{
    struct rlimit limit;

    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = size < limit.rlim_max ? size : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* There is no room for a second file. */
static void test_a_failed_compaction_does_not_stop_appends(void **state)
{
    struct grantstore store;
    uint64_t ticket;

    open_store(&store, false);
    for (unsigned i = 1; i <= 100; i++) {
        char id[GRANT_ID_SIZE];

        snprintf(id, sizeof(id), "id-%u", i);
        add(&store, i, id);
    }
    commit_all(&store);
    store.rewrite_at = 0;
    limit_files(store.size / 2);
    assert_int_equal(commit(&store, NULL), GRANTSTORE_AGAIN);
    assert_true(store.is_loaded && !store.must_rewrite);
    assert_true(store.rewrite_at > store.size);
    limit_files(RLIM_INFINITY);
    ticket = add(&store, 1000, "a");
    assert_int_equal(commit(&store, NULL), 0);
    assert_true(grantstore_is_durable(&store, ticket));
    grantstore_deinit(&store);
    assert_int_equal(holder_after_restart("a"), 1000);
    assert_int_equal(holder_after_restart("id-7"), 7);
}

/* What it read may be in memory only: an earlier process was killed after a failed sync. */
static void test_the_first_load_writes_the_log_again(void **state)
{
    struct grantstore store, again;
    struct stat before, after;

    open_store(&store, false);
    add(&store, 1, "a");
    commit_all(&store);
    grantstore_deinit(&store);
    assert_int_equal(stat(tempdir_path("grants-v1.log"), &before), 0);
    open_store(&again, false);
    assert_int_equal(stat(tempdir_path("grants-v1.log"), &after), 0);
    assert_int_not_equal(before.st_ino, after.st_ino);
    assert_int_equal(holder(&again, "a"), 1);
    grantstore_deinit(&again);
    assert_int_equal(holder_after_restart("a"), 1);
}

/* Another agent's file grew by history. */
static void test_a_load_of_history_alone_is_compacted(void **state)
{
    struct grantstore store, other;

    open_store(&store, false);
    open_store(&other, false);
    add(&other, 0xffffff, "kept");
    for (unsigned i = 1; i <= 3000; i++) {
        char id[GRANT_ID_SIZE];

        snprintf(id, sizeof(id), "%016x", i);
        add(&other, i, "a");
        assert_int_equal(grantstore_free(&other, id), 0);
    }
    other.rewrite_at = UINT64_MAX;
    assert_true(commit(&other, NULL) >= 0);
    commit_all(&other);
    add(&store, 1000000, "b");
    commit_all(&store);
    assert_true(store.size < 10000);
    grantstore_deinit(&store);
    grantstore_deinit(&other);
    assert_int_equal(holder_after_restart("kept"), 0xffffff);
}

/* By a person, or by a cleaner of disks: the pods still run. */
static void test_a_log_that_is_deleted_is_written_again(void **state)
{
    struct grantstore store;

    open_store(&store, false);
    add(&store, 1, "a");
    commit_all(&store);
    assert_int_equal(unlink(tempdir_path("grants-v1.log")), 0);
    add(&store, 2, "b");
    commit_all(&store);
    assert_int_equal(holder(&store, "a"), 1);
    grantstore_deinit(&store);
    assert_int_equal(holder_after_restart("a"), 1);
    assert_int_equal(holder_after_restart("b"), 2);
}

static void test_another_agent_s_grants_are_taken_in(void **state)
{
    struct grantstore a, b;

    open_store(&a, false);
    open_store(&b, false);
    add(&a, 1, "a");
    commit_all(&a); /* b wrote the file again when it loaded it */
    add(&b, 2, "a");
    add(&b, 3, "b");
    assert_int_equal(commit(&b, NULL), GRANTSTORE_AGAIN);
    assert_int_equal(commit(&b, NULL), GRANTSTORE_AGAIN);
    assert_int_equal(commit(&b, NULL), 0);
    assert_int_equal(holder(&b, "a"), 2);
    assert_non_null(ledger_find(&b.ledger, "0000000000000001"));
    grantstore_deinit(&a);
    grantstore_deinit(&b);
    assert_int_equal(holder_after_restart("b"), 3);
}

static void test_a_torn_tail_is_noted_and_mended(void **state)
{
    struct grantstore_notes notes;
    cleanup_free char *data = NULL;
    struct grantstore store;
    size_t size;

    open_store(&store, false);
    add(&store, 1, "a");
    commit_all(&store);
    add(&store, 2, "b");
    commit_all(&store);
    grantstore_deinit(&store);
    assert_int_equal(file_read(tempdir_path("grants-v1.log"), 10000, &data, &size, NULL), 0);
    assert_int_equal(file_write_atomic(tempdir_path("grants-v1.log"), data, size - 5, 0600, NULL),
                     0);
    assert_int_equal(
        grantstore_init(&store,
                        &(struct grantstore_setup){.folder = tempdir, .machine = "m", .boot = "b2"},
                        NULL),
        0);
    assert_int_equal(commit(&store, &notes), GRANTSTORE_AGAIN);
    assert_true(notes.was_loaded);
    assert_true(notes.n_torn_bytes > 0);
    commit_all(&store);
    add(&store, 3, "c");
    commit_all(&store);
    grantstore_deinit(&store);
    assert_int_equal(holder_after_restart("a"), 1);
    assert_int_equal(holder_after_restart("b"), 0);
    assert_int_equal(holder_after_restart("c"), 3);
}

static bool is_there(const char *name)
{
    return access(tempdir_path(name), F_OK) == 0;
}

static void assert_mode(const char *name, const char *line)
{
    cleanup_free char *data = NULL;
    size_t size;

    assert_int_equal(file_read(tempdir_path(name), 4096, &data, &size, NULL), 0);
    assert_true(str_starts_with(data, line));
}

static void test_directories_follow(void **state)
{
    struct grantstore store;

    open_store(&store, true);
    add(&store, 1, "a::0");
    add(&store, 2, "b::0");
    add(&store, 3, "c"); /* not shared */
    assert_int_equal(commit(&store, NULL), 0);
    assert_true(is_there("grants/0000000000000001"));
    assert_false(is_there("grants/0000000000000003"));
    assert_int_equal(grantstore_free(&store, "0000000000000001"), 0);
    commit_all(&store);
    assert_false(is_there("grants/0000000000000001"));
    grantstore_deinit(&store);
    /* Rebuilt at the next start, before anything is served. */
    assert_int_equal(grantdir_remove(tempdir, "0000000000000002", NULL), 0);
    open_store(&store, true);
    assert_true(is_there("grants/0000000000000002"));
    assert_mode("grants/0000000000000002/limits", "mode none\n");
    grantstore_set_mode(&store, "enforced");
    assert_true(grantstore_has_work(&store));
    commit_all(&store);
    assert_mode("grants/0000000000000002/limits", "mode enforced\n");
    grantstore_deinit(&store);
}

#define T(name) cmocka_unit_test_setup_teardown(name, tempdir_make, tempdir_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_a_grant_is_durable_after_its_commit),
        T(test_what_comes_during_a_commit_waits_for_the_next),
        T(test_freed_stays_freed),
        T(test_freed_and_granted_again_is_there),
        T(test_an_id_is_given_once),
        T(test_history_is_compacted),
        T(test_a_failed_commit_is_made_good),
        T(test_a_failed_compaction_does_not_stop_appends),
        T(test_the_first_load_writes_the_log_again),
        T(test_a_load_of_history_alone_is_compacted),
        T(test_a_log_that_is_deleted_is_written_again),
        T(test_another_agent_s_grants_are_taken_in),
        T(test_a_torn_tail_is_noted_and_mended),
        T(test_directories_follow),
    };

    return cmocka_run_group_tests_name("grantstore", tests, NULL, NULL);
}
