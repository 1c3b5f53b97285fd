// SPDX-License-Identifier: Apache-2.0

/* What units are owed, and what strict ones may have. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "arbiter/ration.h"

#define MS UINT64_C(1000000)
#define S  UINT64_C(1000000000)

static void test_debts_add_up_to_nothing(void **state)
{
    struct ration small = {.share_ppm = 100000}, great = {.share_ppm = 300000};

    (void)state;
    ration_owe(&small, 8 * MS, 8 * MS, 400000);
    ration_owe(&great, 0, 8 * MS, 400000);
    assert_int_equal(small.owed_ns, -(int64_t)(6 * MS));
    assert_int_equal(great.owed_ns, 6 * MS);
    assert_true(ration_urgency(&great) > ration_urgency(&small));
}

static void test_debts_are_a_second_of_the_share_at_most(void **state)
{
    struct ration one = {.share_ppm = 250000}, other = {.share_ppm = 250000};

    (void)state;
    for (size_t i = 0; i < 100; i++) {
        ration_owe(&one, S, S, 500000);
        ration_owe(&other, 0, S, 500000);
    }
    assert_int_equal(one.owed_ns, -(int64_t)(250 * MS));
    assert_int_equal(other.owed_ns, 250 * MS);
    ration_owe(&one, UINT64_MAX, UINT64_MAX, 250000);
    assert_int_equal(one.owed_ns, -(int64_t)(250 * MS));
}

static void test_what_is_put_aside_comes_back(void **state)
{
    struct ration ration = {.share_ppm = 500000};

    (void)state;
    ration_owe(&ration, 10 * MS, 0, 1000000);
    ration_put_aside(&ration);
    assert_int_equal(ration.owed_ns, 0);
    ration_owe(&ration, 5 * MS, 0, 1000000);
    ration_put_back(&ration);
    assert_int_equal(ration.owed_ns, -(int64_t)(15 * MS));
    ration_begin(&ration);
    assert_int_equal(ration.owed_ns, 0);
}

static void test_an_allowance_grows_by_the_share_and_is_not_saved(void **state)
{
    struct ration ration = {.share_ppm = 250000};

    (void)state;
    ration_begin(&ration);
    assert_true(ration.is_used_up);
    ration_pass(&ration, 16 * MS);
    assert_true(ration.is_used_up);
    ration_pass(&ration, 4 * MS);
    assert_false(ration.is_used_up);
    ration_pass(&ration, 10 * S);
    assert_int_equal(ration.allowance_ns, RATION_BURST_MS * MS);
    ration_receive(&ration, 100 * MS); /* a kernel that was too long for it */
    ration_pass(&ration, 300 * MS);
    assert_true(ration.is_used_up);
    ration_pass(&ration, 60 * MS);
    assert_false(ration.is_used_up);
}

static void test_lent_is_what_somebody_borrowed(void **state)
{
    struct ration one = {.share_ppm = 500000}, other = {.share_ppm = 500000};

    (void)state;
    ration_pass(&one, S);
    ration_pass(&other, S);
    ration_receive(&one, 900 * MS);
    ration_receive(&other, 100 * MS);
    ration_close_window(&one, true);
    ration_close_window(&other, true);
    assert_int_equal(one.borrowed_ns, 400 * MS);
    assert_int_equal(other.lent_ns, 400 * MS);
    ration_pass(&other, S);
    ration_close_window(&other, false);
    assert_int_equal(other.lent_ns, 400 * MS);
    assert_int_equal(other.entitled_ns, S);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_debts_add_up_to_nothing),
        cmocka_unit_test(test_debts_are_a_second_of_the_share_at_most),
        cmocka_unit_test(test_what_is_put_aside_comes_back),
        cmocka_unit_test(test_an_allowance_grows_by_the_share_and_is_not_saved),
        cmocka_unit_test(test_lent_is_what_somebody_borrowed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
