// SPDX-License-Identifier: Apache-2.0

/* Who is heavy: by what is seen of a unit, alone and beside others. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "arbiter/duty.h"
#include "base/array.h"

#define US UINT64_C(1000)

/* So long, with work in flight in so many of ten looks. */
static void pass(struct duty *duty, uint32_t ms, uint32_t busy_of_ten, bool is_clean)
{
    for (uint32_t look = 0; look < ms * 4; look++)
        duty_pass(duty, 250 * US, look % 10 < busy_of_ten, is_clean);
}

static void test_verdicts(void **state)
{
    static const struct {
        uint32_t ms, busy_of_ten;
        bool is_clean, is_judged, is_heavy, is_suspicious;
    } rows[] = {
        {40, 10, true, true, true, false},    {40, 7, true, true, true, false},
        {40, 6, true, true, false, false},    {40, 0, true, true, false, false},
        {20, 10, true, false, false, false},  /* too short */
        {200, 10, false, false, false, true}, /* beside others waiting looks like work */
        {200, 9, false, false, false, true},  {200, 5, false, true, false, false},
        {200, 7, false, false, false, true},  {200, 6, false, false, false, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct duty duty = {0};

        pass(&duty, rows[i].ms, rows[i].busy_of_ten, rows[i].is_clean);
        assert_int_equal(duty.is_judged, rows[i].is_judged);
        assert_int_equal(duty.is_heavy, rows[i].is_heavy);
        assert_int_equal(duty_is_suspicious(&duty), rows[i].is_suspicious);
    }
}

static void test_verdicts_have_hysteresis(void **state)
{
    struct duty duty = {0};

    (void)state;
    pass(&duty, 40, 10, true);
    pass(&duty, 80, 6, true);
    assert_true(duty.is_heavy);
    pass(&duty, 80, 5, true);
    assert_false(duty.is_heavy);
    pass(&duty, 80, 6, true);
    assert_false(duty.is_heavy);
}

static void test_a_presumption_is_corrected(void **state)
{
    struct duty duty = {0};

    (void)state;
    duty_presume(&duty);
    assert_true(duty.is_judged && duty.is_heavy);
    pass(&duty, 40, 2, true);
    assert_false(duty.is_heavy);
}

static void test_a_probe_is_short_and_judged_at_its_end(void **state)
{
    struct duty duty = {0};

    (void)state;
    pass(&duty, 10, 10, true);
    assert_false(duty_judge(&duty));
    assert_false(duty.is_judged);
    pass(&duty, 15, 10, true);
    assert_true(duty_judge(&duty));
    assert_true(duty.is_heavy);
}

static void test_one_look_after_a_long_pause_is_not_the_pause(void **state)
{
    struct duty duty = {0};

    (void)state;
    for (size_t i = 0; i < 3; i++)
        duty_pass(&duty, UINT64_C(1) << 60, true, true);
    assert_false(duty.is_judged);
    assert_true(duty.clean_ns <= 3 * DUTY_LOOK_MS * 1000 * US);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_verdicts_have_hysteresis),
        cmocka_unit_test(test_a_presumption_is_corrected),
        cmocka_unit_test(test_a_probe_is_short_and_judged_at_its_end),
        cmocka_unit_test(test_one_look_after_a_long_pause_is_not_the_pause),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
