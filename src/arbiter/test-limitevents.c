// SPDX-License-Identifier: Apache-2.0

/* Each pod that reaches its limit gets an event, and not one for each allocation. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "arbiter/limitevents.h"

static unsigned n_events;
static struct arbiter_event last;
static bool is_away; /* who takes them */

static bool on_event(const struct arbiter_event *event, void *userdata)
{
    (void)userdata;
    last = *event;
    n_events++;
    return !is_away;
}

static struct limitevents events;

static int set_up(void **state)
{
    (void)state;
    n_events = 0;
    is_away = false;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    limitevents_deinit(&events);
    return 0;
}

static struct limituse use_of(const char *uid, uint64_t n_denied)
{
    return (struct limituse){.namespace_ = "ml",
                             .pod = "train",
                             .pod_uid = uid,
                             .container = "main",
                             .uuid = "GPU-1",
                             .limit_bytes = 4ull << 30,
                             .n_denied = n_denied};
}

static void observe(const struct limituse *uses, size_t n, enum limits_mode mode, uint64_t now_ms)
{
    assert_int_equal(limitevents_observe(&events, uses, n, mode, now_ms, on_event, NULL), 0);
}

static void observe_one(uint64_t n_denied, enum limits_mode mode, uint64_t now_ms)
{
    const struct limituse use = use_of("u", n_denied);

    observe(&use, 1, mode, now_ms);
}

static void test_an_event_names_everything(void **state)
{
    observe_one(0, LIMITS_ENFORCED, 0);
    assert_int_equal(n_events, 0);
    observe_one(3, LIMITS_ENFORCED, 1000);
    assert_int_equal(n_events, 1);
    assert_string_equal(last.reason, "MemoryLimitReached");
    assert_string_equal(last.namespace_, "ml");
    assert_string_equal(last.pod, "train");
    assert_true(last.limit_bytes == 4ull << 30);
    assert_string_equal(last.message,
                        "container main reached the 4096 MiB that its slices have of GPU-1: 3 "
                        "allocations failed with CUDA error 2 (out of memory); ask for more "
                        "slices, or use less");
}

static void test_one_a_minute(void **state)
{
    for (uint64_t s = 0; s < 120; s++)
        observe_one(10 * (s + 1), LIMITS_ENFORCED, s * 1000);
    assert_int_equal(n_events, 2);
    assert_non_null(strstr(last.message, ": 600 allocations failed"));
    observe_one(1200, LIMITS_ENFORCED, 3600000);
    assert_int_equal(n_events, 3); /* the rest of before */
    observe_one(1200, LIMITS_ENFORCED, 7200000);
    assert_int_equal(n_events, 3);
}

static void test_the_first_look_counts(void **state)
{
    observe_one(1, LIMITS_ENFORCED, 5);
    assert_int_equal(n_events, 1);
    assert_non_null(strstr(last.message, ": 1 allocation failed"));
}

/* What would have been refused is no event, also not when the mode changes. */
static void test_only_what_was_refused(void **state)
{
    observe_one(5, LIMITS_OBSERVE, 0);
    observe_one(7, LIMITS_NONE, 1000);
    observe_one(7, LIMITS_ENFORCED, 2000);
    assert_int_equal(n_events, 0);
    observe_one(8, LIMITS_ENFORCED, 3000);
    assert_int_equal(n_events, 1);
    assert_non_null(strstr(last.message, ": 1 allocation failed"));
}

static void test_containers_are_told_apart(void **state)
{
    const struct limituse uses[] = {use_of("a", 1), use_of("b", 1)};

    observe(uses, 2, LIMITS_ENFORCED, 0);
    assert_int_equal(n_events, 2);
    observe(uses, 1, LIMITS_ENFORCED, 1000); /* b is gone */
    assert_int_equal(events.n_items, 1);
    observe(uses, 2, LIMITS_ENFORCED, 2000); /* another one under its name */
    assert_int_equal(n_events, 3);
}

static void test_a_pod_without_a_name_waits_for_it(void **state)
{
    struct limituse use = use_of("u", 2);

    use.pod = "";
    observe(&use, 1, LIMITS_ENFORCED, 0);
    assert_int_equal(n_events, 0);
    observe_one(2, LIMITS_ENFORCED, 1000);
    assert_int_equal(n_events, 1);
    assert_non_null(strstr(last.message, ": 2 allocations failed"));
}

/* Nobody took the event: the next agent gets one, with all that was refused meanwhile. */
static void test_what_nobody_took_is_kept(void **state)
{
    is_away = true;
    observe_one(3, LIMITS_ENFORCED, 0);
    assert_int_equal(n_events, 1);
    observe_one(3, LIMITS_ENFORCED, 100000); /* nothing new to say */
    assert_int_equal(n_events, 1);
    observe_one(5, LIMITS_ENFORCED, 101000);
    assert_int_equal(n_events, 2);
    limitevents_deliver(&events, on_event, NULL); /* in vain */
    assert_int_equal(n_events, 3);
    observe_one(6, LIMITS_ENFORCED, 102000);
    is_away = false;
    limitevents_deliver(&events, on_event, NULL);
    assert_int_equal(n_events, 4);
    assert_string_equal(last.pod, "train");
    assert_non_null(strstr(last.message, "container main reached the 4096 MiB"));
    assert_non_null(strstr(last.message, ": 6 allocations failed"));
    limitevents_deliver(&events, on_event, NULL);
    observe_one(6, LIMITS_ENFORCED, 3600000);
    assert_int_equal(n_events, 4);
}

static void test_what_is_taken_late_by_a_look_is_not_delivered_again(void **state)
{
    is_away = true;
    observe_one(1, LIMITS_ENFORCED, 0);
    is_away = false;
    observe_one(2, LIMITS_ENFORCED, 100000);
    assert_non_null(strstr(last.message, ": 2 allocations failed"));
    limitevents_deliver(&events, on_event, NULL);
    assert_int_equal(n_events, 2);
}

/* They are bounded, and what is lost is counted. */
static void test_those_of_containers_that_are_gone(void **state)
{
    enum { N = LIMITEVENTS_GONE_MAX + 10 };
    struct limituse uses[N];
    char uids[N][16];

    is_away = true;
    for (size_t i = 0; i < N; i++) {
        snprintf(uids[i], sizeof(uids[i]), "u%zu", i);
        uses[i] = use_of(uids[i], 1);
    }
    observe(uses, N, LIMITS_ENFORCED, 0);
    observe(NULL, 0, LIMITS_ENFORCED, 1000);
    assert_int_equal(events.n_items, LIMITEVENTS_GONE_MAX);
    assert_int_equal(events.n_dropped, 10);
    is_away = false;
    n_events = 0;
    limitevents_deliver(&events, on_event, NULL);
    assert_int_equal(n_events, LIMITEVENTS_GONE_MAX);
    observe(NULL, 0, LIMITS_ENFORCED, 2000);
    assert_int_equal(events.n_items, 0);
    assert_int_equal(events.n_dropped, 10);
}

static void test_who_is_starved_is_told_why(void **state)
{
    struct limituse use = use_of("u", 2);

    use.is_starved = true;
    observe(&use, 1, LIMITS_ENFORCED, 0);
    assert_string_equal(last.reason, "MemoryStarved");
    assert_string_equal(
        last.message,
        "container main gets no more memory of GPU-1 while its pod uses GPU memory that its slices "
        "do not give: 2 allocations failed with CUDA error 2 (out of memory); end what uses it, or "
        "ask for more slices");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_an_event_names_everything),
        TEST(test_one_a_minute),
        TEST(test_the_first_look_counts),
        TEST(test_only_what_was_refused),
        TEST(test_containers_are_told_apart),
        TEST(test_a_pod_without_a_name_waits_for_it),
        TEST(test_who_is_starved_is_told_why),
        TEST(test_what_nobody_took_is_kept),
        TEST(test_what_is_taken_late_by_a_look_is_not_delivered_again),
        TEST(test_those_of_containers_that_are_gone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
