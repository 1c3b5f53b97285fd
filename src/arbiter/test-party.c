// SPDX-License-Identifier: Apache-2.0

/* Two containers that are one unit of turns for a while, and what each is shown of it. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "arbiter/party.h"

#define MS UINT64_C(1000000)

enum { N_PARTIES = 3, STEP_MS = 1 };

static struct turns *turns;
static struct party parties[N_PARTIES];
static struct turns_sample claims[N_PARTIES];
static uint64_t now_ns;

static int set_up(void **state)
{
    static const uint32_t shares_ppm[N_PARTIES] = {100000, 300000, 250000};

    (void)state;
    now_ns = 1000 * MS;
    turns = turns_new();
    turns_set_mode(turns, LIMITS_COMPUTE_ELASTIC);
    for (int i = 0; i < N_PARTIES; i++) {
        claims[i] = (struct turns_sample){.n_launched = 0};
        assert_int_equal(party_begin(&parties[i], turns, shares_ppm[i]), 0);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (int i = 0; i < N_PARTIES; i++)
        party_end(&parties[i]);
    turns_free(turns);
    return 0;
}

/* Those with launches have work in flight all the time. */
static void pass(unsigned ms, const unsigned launches[static N_PARTIES])
{
    for (unsigned passed = 0; passed < ms; passed += STEP_MS) {
        now_ns += STEP_MS * MS;
        for (int i = 0; i < N_PARTIES; i++) {
            claims[i].n_launched += launches[i];
            claims[i].n_done += launches[i];
            claims[i].is_in_flight = launches[i] > 0;
            party_sample(&parties[i], &claims[i]);
        }
        for (int i = 0; i < N_PARTIES; i++)
            party_tell(&parties[i]);
        turns_run(turns, now_ns);
    }
}

static struct turns_view view_of(int party)
{
    struct turns_view view;

    party_view(&parties[party], &view);
    return view;
}

static void assert_ms(uint64_t ns, unsigned ms)
{
    assert_in_range(ns / MS, ms * 98 / 100, ms * 102 / 100);
}

static void test_a_group_is_shown_by_what_each_launched(void **state)
{
    static const unsigned both[N_PARTIES] = {3, 1, 0}, second[N_PARTIES] = {0, 1, 0};

    (void)state;
    party_join(&parties[1], &parties[0]);
    assert_int_equal(party_count(&parties[1]), 2);
    pass(4000, both);
    assert_ms(view_of(0).received_ns, 3000);
    assert_ms(view_of(1).received_ns, 1000);
    assert_ms(view_of(0).entitled_ns, 400);
    assert_ms(view_of(1).entitled_ns, 1200);
    assert_int_equal(view_of(0).weight, view_of(1).weight);
    assert_true(view_of(1).weight >= TURNS_HEAVY);
    pass(1000, second);
    assert_ms(view_of(0).received_ns, 3000);
    assert_ms(view_of(1).received_ns, 2000);
}

/* Nothing that was shown is taken back. */
static void test_what_each_received_stays_when_they_part(void **state)
{
    static const unsigned both[N_PARTIES] = {1, 1, 0}, first[N_PARTIES] = {1, 0, 0},
                          second[N_PARTIES] = {0, 1, 0};

    (void)state;
    pass(1000, second);
    party_join(&parties[1], &parties[0]);
    pass(1000, both);
    party_leave(&parties[0]); /* the lead */
    assert_int_equal(party_count(&parties[1]), 1);
    assert_ms(view_of(0).received_ns, 500);
    assert_ms(view_of(1).received_ns, 1500);
    pass(1000, first);
    assert_ms(view_of(0).received_ns, 1500);
    assert_ms(view_of(1).received_ns, 1500);
    assert_ms(view_of(0).entitled_ns, 300);
    assert_ms(view_of(1).entitled_ns, 900);
}

static void test_who_ends_leaves_the_others_together(void **state)
{
    static const unsigned all[N_PARTIES] = {1, 1, 1};

    (void)state;
    party_join(&parties[1], &parties[0]);
    party_join(&parties[2], &parties[0]);
    pass(900, all);
    for (int i = 0; i < N_PARTIES; i++)
        assert_ms(view_of(i).received_ns, 300);
    party_leave(&parties[1]);
    assert_int_equal(party_count(&parties[0]), 2);
    assert_ptr_equal(parties[2].lead, &parties[0]);
    assert_ptr_equal(parties[1].lead, &parties[1]);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_a_group_is_shown_by_what_each_launched),
        TEST(test_what_each_received_stays_when_they_part),
        TEST(test_who_ends_leaves_the_others_together),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
