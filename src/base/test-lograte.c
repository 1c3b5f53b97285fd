// SPDX-License-Identifier: Apache-2.0
#include "base/lograte.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void a_lasting_state_is_logged_once(void **state)
{
    struct lograte rate = {.n_logged = 0};

    (void)state;
    assert_true(lograte_begin(&rate, "no kubelet", 0));
    for (uint64_t now_ms = 50; now_ms < 3600000; now_ms += 5000)
        assert_false(lograte_begin(&rate, "no kubelet", now_ms));
}

static void another_reason_is_news(void **state)
{
    struct lograte rate = {.n_logged = 0};

    (void)state;
    assert_true(lograte_begin(&rate, "no kubelet", 1000));
    assert_true(lograte_begin(&rate, "refused", 2000));
    assert_true(lograte_begin(&rate, "no kubelet", 3000));
}

static void what_comes_back_is_news(void **state)
{
    struct lograte rate = {.n_logged = 0};

    (void)state;
    assert_true(lograte_begin(&rate, "no kubelet", 1000));
    lograte_end(&rate);
    assert_true(lograte_begin(&rate, "no kubelet", 2000));
    assert_false(lograte_begin(&rate, "no kubelet", 3000));
}

/* 20 refusals a second, each with another number in it, for five minutes. */
static void ever_new_words_do_not_fill_the_log(void **state)
{
    struct lograte rate = {.n_logged = 0};
    unsigned n_logged = 0;
    char why[40];

    (void)state;
    for (unsigned i = 0; i < 6000; i++) {
        snprintf(why, sizeof(why), "refused, number %u", i);
        n_logged += lograte_begin(&rate, why, i * 50);
        if (i == 100)
            assert_int_equal(n_logged, LOGRATE_BURST);
    }
    assert_int_equal(n_logged, 5 * LOGRATE_BURST);
}

static void its_end_may_be_logged_when_its_beginning_was(void **state)
{
    struct lograte rate = {.n_logged = 0};
    unsigned n_begun = 0, n_ended = 0;

    (void)state;
    assert_false(lograte_end(&rate));
    for (unsigned i = 0; i < 100; i++) { /* it flaps */
        n_begun += lograte_begin(&rate, "no kubelet", i);
        n_ended += lograte_end(&rate);
    }
    assert_int_equal(n_begun, n_ended);
    assert_int_equal(n_begun + n_ended, LOGRATE_BURST);
    assert_true(lograte_begin(&rate, "no kubelet", LOGRATE_PERIOD_MS));
    assert_false(lograte_begin(&rate, "no kubelet", LOGRATE_PERIOD_MS + 1));
}

static void who_acts_on_it_learns_of_every_change(void **state)
{
    struct lograte rate = {.n_logged = 0};
    char why[40];

    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        snprintf(why, sizeof(why), "refused, number %u", i);
        assert_true(lograte_change(&rate, why));
        assert_false(lograte_change(&rate, why));
    }
    assert_true(lograte_end(&rate));
    assert_false(lograte_end(&rate));
    assert_true(lograte_change(&rate, why));
}

static void a_reason_of_any_length_is_known_to_its_end(void **state)
{
    struct lograte rate = {.n_logged = 0};
    char why[2000];

    (void)state;
    memset(why, 'x', sizeof(why));
    why[sizeof(why) - 1] = '\0';
    assert_true(lograte_begin(&rate, why, 1));
    assert_false(lograte_begin(&rate, why, 2));
    why[sizeof(why) - 2] = 'y';
    assert_true(lograte_begin(&rate, why, 3));
    assert_true(lograte_begin(&rate, "", 4));
    assert_false(lograte_begin(&rate, "", 5));
}

static void a_key_is_logged_once_in_a_while(void **state)
{
    struct lograte_keys keys = {.n_logged = 0};

    (void)state;
    assert_true(lograte_admit(&keys, "GPU-a 31", 10000, 5));
    assert_false(lograte_admit(&keys, "GPU-a 31", 10000, 6));
    assert_true(lograte_admit(&keys, "GPU-a 43", 10000, 6));
    assert_true(lograte_admit(&keys, "GPU-b 31", 10000, 6));
    assert_false(lograte_admit(&keys, "GPU-a 31", 10000, 10004));
    assert_true(lograte_admit(&keys, "GPU-a 31", 10000, 10005));
}

static void a_flood_of_keys_stays_bounded(void **state)
{
    struct lograte_keys keys = {.n_logged = 0};
    char key[40];

    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(key, sizeof(key), "GPU-a %u", i);
        assert_true(lograte_admit(&keys, key, 10000, 1));
    }
    assert_false(lograte_admit(&keys, key, 10000, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lasting_state_is_logged_once),
        cmocka_unit_test(another_reason_is_news),
        cmocka_unit_test(what_comes_back_is_news),
        cmocka_unit_test(ever_new_words_do_not_fill_the_log),
        cmocka_unit_test(its_end_may_be_logged_when_its_beginning_was),
        cmocka_unit_test(who_acts_on_it_learns_of_every_change),
        cmocka_unit_test(a_reason_of_any_length_is_known_to_its_end),
        cmocka_unit_test(a_key_is_logged_once_in_a_while),
        cmocka_unit_test(a_flood_of_keys_stays_bounded),
    };

    return cmocka_run_group_tests_name("base/lograte", tests, NULL, NULL);
}
