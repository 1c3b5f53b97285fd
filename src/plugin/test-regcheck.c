// SPDX-License-Identifier: Apache-2.0
#include "plugin/regcheck.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* One look of a history: what was seen at which second, and whether that is a reason to act. */
struct look {
    unsigned at_s;
    struct regcheck_view view;
    bool renew;
};

/* Registered in second `since`, 16 healthy slices, and the Node shows that many. */
#define SEEN(since, count)                                                                \
    {                                                                                     \
        .known = true, .registered_ms = (since)*1000, .healthy = 16, .capacity = (count), \
        .allocatable = (count)                                                            \
    }
#define RENEW true

static void play(const struct look *looks, size_t n)
{
    struct regcheck regcheck = REGCHECK_INIT;

    for (size_t i = 0; i < n; i++)
        if (regcheck_update(&regcheck, &looks[i].view, looks[i].at_s * 1000u) != looks[i].renew)
            fail_msg("look %zu, at %u s: not %s", i, looks[i].at_s,
                     looks[i].renew ? "renewed" : "left alone");
}

#define PLAY(...)                            \
    play((const struct look[]){__VA_ARGS__}, \
         sizeof((const struct look[]){__VA_ARGS__}) / sizeof(struct look))

static void a_node_that_agrees_is_left_alone(void **state)
{
    (void)state;
    PLAY({10, SEEN(1, 16)}, {100, SEEN(1, 16)}, {10000, SEEN(1, 16)});
}

static void thirty_seconds_and_then_twice_as_long(void **state)
{
    (void)state;
    PLAY({1, SEEN(1, 0)}, {30, SEEN(1, 0)}, {31, SEEN(1, 0), RENEW}, {90, SEEN(31, 0)},
         {91, SEEN(31, 0), RENEW}, {210, SEEN(91, 0)}, {211, SEEN(91, 0), RENEW},
         {451, SEEN(211, 0), RENEW}, {931, SEEN(451, 0), RENEW}, {1530, SEEN(931, 0)},
         {1531, SEEN(931, 0), RENEW}, {2130, SEEN(1531, 0)}, {2131, SEEN(1531, 0), RENEW});
}

static void agreement_starts_over(void **state)
{
    (void)state;
    PLAY({1, SEEN(1, 0)}, {31, SEEN(1, 0), RENEW}, {40, SEEN(31, 16)}, {50, SEEN(31, 0)},
         {79, SEEN(31, 0)}, {80, SEEN(31, 0), RENEW});
}

/* A kubelet that came back has its whole time, whenever the Node was seen empty first. */
static void each_registration_has_its_time(void **state)
{
    (void)state;
    PLAY({1, SEEN(1, 0)}, {25, SEEN(24, 0)}, {53, SEEN(24, 0)}, {54, SEEN(24, 0), RENEW});
}

static void what_is_no_reason(void **state)
{
    (void)state;
    PLAY({1, SEEN(0, 0)}, {100, SEEN(0, 0)}); /* not registered: that is worked on elsewhere */
    PLAY({1, {.registered_ms = 1000, .healthy = 16}},
         {100, {.registered_ms = 1000, .healthy = 16}}); /* the API server does not answer */
    PLAY({1, {.known = true, .registered_ms = 1000}},
         {100, {.known = true, .registered_ms = 1000}}); /* no device is healthy */
    /* The time before devices became Healthy does not count. */
    PLAY({1, {.known = true, .registered_ms = 1000, .capacity = 16}}, {100, SEEN(1, 0)},
         {129, SEEN(1, 0)}, {130, SEEN(1, 0), RENEW});
}

/* A plugin that the kubelet dropped: capacity stays for 5 minutes, allocatable is 0 at once. */
static void allocatable_alone_counts(void **state)
{
    const struct regcheck_view dropped = {
        .known = true, .registered_ms = 1000, .healthy = 16, .capacity = 16};

    (void)state;
    PLAY({1, dropped}, {31, dropped, RENEW});
}

static void says_when_to_look_again(void **state)
{
    const struct regcheck_view empty = SEEN(1, 0), full = SEEN(1, 16);
    struct regcheck regcheck = REGCHECK_INIT;

    (void)state;
    assert_true(regcheck_due_ms(&regcheck) == UINT64_MAX);
    regcheck_update(&regcheck, &empty, 5000);
    assert_int_equal(regcheck_due_ms(&regcheck), 35000);
    assert_true(regcheck_update(&regcheck, &empty, 35000));
    assert_int_equal(regcheck_due_ms(&regcheck), 95000);
    regcheck_update(&regcheck, &full, 40000);
    assert_true(regcheck_due_ms(&regcheck) == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_that_agrees_is_left_alone),
        cmocka_unit_test(thirty_seconds_and_then_twice_as_long),
        cmocka_unit_test(agreement_starts_over),
        cmocka_unit_test(each_registration_has_its_time),
        cmocka_unit_test(what_is_no_reason),
        cmocka_unit_test(allocatable_alone_counts),
        cmocka_unit_test(says_when_to_look_again),
    };

    return cmocka_run_group_tests_name("plugin/regcheck", tests, NULL, NULL);
}
