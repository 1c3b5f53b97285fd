// SPDX-License-Identifier: Apache-2.0
#include "kube/correlator.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"

static struct correlator correlator;
static struct correlator_now now;

static int set_up(void **state)
{
    memset(&correlator, 0, sizeof(correlator));
    now = (struct correlator_now){.ms = 1000000, .wall = 1000};
    return 0;
}

static int tear_down(void **state)
{
    correlator_deinit(&correlator);
    return 0;
}

static int add(const char *pod, const char *reason, const char *message)
{
    const struct correlator_event sentence = {.namespace_ = *pod ? "default" : "",
                                              .pod = pod,
                                              .reason = reason,
                                              .message = message,
                                              .warning = true};

    return correlator_add(&correlator, &sentence, &now);
}

/* Writes what is due at this moment; the number of writes. */
static unsigned write_due(uint64_t *ret_wait_ms)
{
    struct correlator_entry *entry;
    unsigned n = 0;

    while ((entry = correlator_next(&correlator, &now, ret_wait_ms))) {
        correlator_spend(&correlator, entry, &now);
        entry->n_written = entry->count;
        n++;
    }
    return n;
}

static void counts_what_repeats(void **state)
{
    struct correlator_entry *entry;
    uint64_t wait;

    for (int i = 0; i < 1000; i++)
        assert_int_equal(add("", "Bad", "GPU 0"), 0);
    entry = correlator_next(&correlator, &now, &wait);
    assert_int_equal(entry->count, 1000);
    assert_int_equal(write_due(&wait), 1);
    assert_true(wait == UINT64_MAX);
    assert_true(correlator_is_all_written(&correlator));
}

/* A few at once, then seldom; and nothing is lost of the count. */
static void writes_seldom(void **state)
{
    unsigned n_written = 0;
    uint64_t wait = 0;

    for (int second = 0; second < 100; second++) {
        for (int i = 0; i < 10; i++)
            assert_int_equal(add("", "Bad", "GPU 0"), 0);
        n_written += write_due(&wait);
        now.ms += 1000;
    }
    assert_int_equal(n_written, CORRELATOR_BURST + 9);
    assert_true(wait <= CORRELATOR_REFILL_MS);
    now.ms += wait;
    assert_int_equal(write_due(&wait), 1);
    assert_true(correlator_is_all_written(&correlator));
}

static void bounds_all_writes_together(void **state)
{
    char pod[16];
    uint64_t wait;

    for (int i = 0; i < 100; i++) {
        snprintf(pod, sizeof(pod), "p%d", i);
        assert_int_equal(add(pod, "Bad", "m"), 0);
    }
    assert_int_equal(write_due(&wait), CORRELATOR_ALL_BURST);
    assert_int_equal(wait, CORRELATOR_ALL_REFILL_MS);
    now.ms += 10 * CORRELATOR_ALL_REFILL_MS;
    assert_int_equal(write_due(&wait), 10);
}

static void keeps_different_things_apart(void **state)
{
    uint64_t wait;

    add("", "Bad", "GPU 0");
    add("", "Bad", "GPU 1");
    add("", "Worse", "GPU 0");
    add("p", "Bad", "GPU 0");
    add("", "Bad", "GPU 0");
    assert_int_equal(write_due(&wait), 4);
}

static void combines_a_flood_of_sentences(void **state)
{
    const struct correlator_entry *combined = NULL;
    char message[32];
    unsigned n = 0;

    for (int i = 0; i < 100; i++) {
        snprintf(message, sizeof(message), "container %d", i);
        assert_int_equal(add("", "Bad", message), 0);
    }
    for (size_t i = 0; i < CORRELATOR_ENTRIES_MAX; i++) {
        n += correlator.entries[i].count > 0;
        if (correlator.entries[i].is_combined)
            combined = &correlator.entries[i];
    }
    assert_int_equal(n, CORRELATOR_SENTENCES_MAX + 1);
    assert_int_equal(combined->count, 100 - CORRELATOR_SENTENCES_MAX);
    assert_string_equal(combined->message, CORRELATOR_COMBINED "container 99");
}

static void is_bounded(void **state)
{
    char pod[16];
    uint64_t wait;

    for (int i = 0; i < CORRELATOR_ENTRIES_MAX; i++) {
        snprintf(pod, sizeof(pod), "p%d", i);
        assert_int_equal(add(pod, "Bad", "m"), 0);
        now.ms++;
    }
    assert_int_equal(add("late", "Bad", "m"), CORRELATOR_FULL);
    write_due(&wait);
    assert_int_equal(add("late", "Bad", "m"), 0);
    for (size_t i = 0; i < CORRELATOR_ENTRIES_MAX; i++)
        assert_string_not_equal(correlator.entries[i].pod, "p0"); /* written longest ago */
}

static void cuts_between_characters(void **state)
{
    char message[3 * CORRELATOR_MESSAGE_MAX + 1] = "";
    const char *kept = NULL;

    for (size_t i = 0; i < CORRELATOR_MESSAGE_MAX; i++)
        memcpy(message + 2 * i, "\xc3\xa4", 3);
    assert_int_equal(add("", "Bad", message), 0);
    for (size_t i = 0; i < CORRELATOR_ENTRIES_MAX && !kept; i++)
        kept = correlator.entries[i].message;
    assert_in_range(strlen(kept), CORRELATOR_MESSAGE_MAX - 4, CORRELATOR_MESSAGE_MAX);
    assert_true(str_ends_with(kept, "\xa4..."));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(counts_what_repeats, set_up, tear_down),
        cmocka_unit_test_setup_teardown(writes_seldom, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bounds_all_writes_together, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keeps_different_things_apart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(combines_a_flood_of_sentences, set_up, tear_down),
        cmocka_unit_test_setup_teardown(is_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(cuts_between_characters, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("kube/correlator", tests, NULL, NULL);
}
