// SPDX-License-Identifier: Apache-2.0

/* The table of what a process has. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "shim/allocations.h"

static struct allocated entry_of(enum allocation_kind kind, uint64_t key, uint64_t bytes)
{
    return (struct allocated){.kind = kind, .key = key, .bytes = bytes};
}

static void put(enum allocation_kind kind, uint64_t key, uint64_t bytes)
{
    const struct allocated entry = entry_of(kind, key, bytes);
    struct allocated older;

    assert_true(allocations_put(&entry, &older));
    assert_int_equal(older.kind, 0);
}

static void assert_taken(enum allocation_kind kind, uint64_t key, uint64_t bytes)
{
    struct allocated entry;

    assert_true(allocations_take(kind, key, &entry));
    assert_int_equal(entry.bytes, bytes);
    assert_false(allocations_take(kind, key, &entry));
}

static bool is_any(const struct allocated *entry, const void *kind)
{
    return entry->kind == *(const enum allocation_kind *)kind;
}

static size_t count(enum allocation_kind kind)
{
    size_t n;

    free(allocations_list(is_any, &kind, &n));
    return n;
}

/* An address is found by either call that frees it; handles of other kinds are other things. */
static void test_kinds_have_keys_of_their_own(void **state)
{
    put(ALLOCATION_POOLED, 4096, 1);
    put(ALLOCATION_ARRAY, 4096, 2);
    put(ALLOCATION_PHYSICAL, 4096, 3);
    assert_taken(ALLOCATION_MEMORY, 4096, 1);
    assert_taken(ALLOCATION_PHYSICAL, 4096, 3);
    assert_taken(ALLOCATION_ARRAY, 4096, 2);
}

/* Also after many others of the same place came and went. */
static void test_entries_are_found_among_many(void **state)
{
    enum { N = 20000 };

    for (uint64_t i = 0; i < N; i++)
        put(ALLOCATION_MEMORY, i << 21, i);
    for (uint64_t i = 0; i < N; i += 2)
        assert_taken(ALLOCATION_MEMORY, i << 21, i);
    for (uint64_t i = 0; i < N; i += 4)
        put(ALLOCATION_MEMORY, i << 21, i + 7);
    assert_int_equal(count(ALLOCATION_MEMORY), N / 2 + N / 4);
    for (uint64_t i = 1; i < N; i += 2)
        assert_taken(ALLOCATION_MEMORY, i << 21, i);
    for (uint64_t i = 0; i < N; i += 4)
        assert_taken(ALLOCATION_MEMORY, i << 21, i + 7);
    assert_int_equal(count(ALLOCATION_MEMORY), 0);
}

/* Memory whose end was not seen, at an address that is given out again. */
static void test_an_older_entry_is_handed_out(void **state)
{
    const struct allocated entry = entry_of(ALLOCATION_MEMORY, 8192, 20);
    struct allocated older, seen;

    put(ALLOCATION_MEMORY, 8192, 10);
    assert_true(allocations_get(ALLOCATION_MEMORY, 8192, &seen));
    assert_true(allocations_put(&entry, &older));
    assert_int_equal(older.bytes, 10);
    assert_false(allocations_take_same(&seen)); /* it is another one now */
    assert_taken(ALLOCATION_MEMORY, 8192, 20);
}

static void test_a_forked_child_has_nothing(void **state)
{
    struct allocated entry;
    int status;
    pid_t child;

    put(ALLOCATION_MEMORY, 1 << 20, 5);
    child = fork();
    if (child == 0)
        _exit(allocations_get(ALLOCATION_MEMORY, 1 << 20, &entry));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_taken(ALLOCATION_MEMORY, 1 << 20, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds_have_keys_of_their_own),
        cmocka_unit_test(test_entries_are_found_among_many),
        cmocka_unit_test(test_an_older_entry_is_handed_out),
        cmocka_unit_test(test_a_forked_child_has_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
