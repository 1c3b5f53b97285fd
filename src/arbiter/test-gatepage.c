// SPDX-License-Identifier: Apache-2.0

/* What a container finds in its page of the gates of its devices. */

#include "arbiter/gatepage.h"
#include "arbiter/test-gatetenant.h"

enum { MS = 1000000 };

static const char *const uuids[] = {"GPU-00112233-4455-6677-8899-aabbccddeeff",
                                    "GPU-ffeeddcc-bbaa-9988-7766-554433221100"};
static struct gatetenant one;

static const struct turns_gate closed = {.gate = LIMITS_GATE_CLOSED};
static const struct turns_gate turn = {
    .gate = LIMITS_GATE_TURN, .turn_end_ns = 5000 * (uint64_t)MS, .in_flight_us = 512};

static int set_up(void **state)
{
    gatetenant_init(&one, "pod-1", 2, uuids);
    return 0;
}

static int tear_down(void **state)
{
    gatetenant_deinit(&one);
    return 0;
}

static const struct limits_device *shown(size_t place)
{
    return &one.tenant.page.page->devices[place];
}

static void test_mode_and_share_of_each_device(void **state)
{
    one.tenant.shares_ppm[1] = 500000;
    gatepage_show_mode(&one.tenant, LIMITS_COMPUTE_STRICT);
    assert_int_equal(shown(0)->compute, LIMITS_COMPUTE_STRICT);
    assert_int_equal(shown(0)->share_ppm, GATETENANT_SHARE_PPM);
    assert_int_equal(shown(1)->compute, LIMITS_COMPUTE_STRICT);
    assert_int_equal(shown(1)->share_ppm, 500000);
}

static void test_the_gate_of_one_device_is_its_own(void **state)
{
    assert_true(gatepage_show(&one.tenant, 1, &turn, false, MS));
    assert_int_equal(shown(1)->gate, LIMITS_GATE_TURN);
    assert_int_equal(shown(1)->turn_end_ns, turn.turn_end_ns);
    assert_int_equal(shown(1)->in_flight_us, turn.in_flight_us);
    assert_int_equal(shown(0)->gate, LIMITS_GATE_OPEN);
    assert_int_equal(shown(0)->gate_number, 0);
}

/* Each new number wakes the threads that wait for the last one. */
static void test_the_number_tells_of_news_alone(void **state)
{
    uint32_t number;

    assert_true(gatepage_show(&one.tenant, 0, &closed, false, MS));
    number = shown(0)->gate_number;
    assert_true(gatepage_show(&one.tenant, 0, &closed, false, 2 * MS));
    assert_int_equal(shown(0)->gate_number, number);
    assert_true(gatepage_show(&one.tenant, 0, &closed, true, 3 * MS)); /* it is the next one */
    assert_int_equal(shown(0)->gate_number, number + 1);
    assert_true(gatepage_show(&one.tenant, 0, &turn, false, 4 * MS));
    assert_int_equal(shown(0)->gate_number, number + 2);
    assert_false(gatepage_show(&one.tenant, 0, &gatepage_open, false, 5 * MS));
    assert_int_equal(shown(0)->gate_number, number + 3);
}

static void test_a_gate_that_is_not_open_has_a_beat(void **state)
{
    assert_true(gatepage_show(&one.tenant, 0, &closed, false, 700 * (uint64_t)MS));
    assert_int_equal(one.tenant.page.page->beat_ms, 700);
    assert_true(gatepage_show(&one.tenant, 0, &closed, false, 710 * (uint64_t)MS));
    assert_int_equal(one.tenant.page.page->beat_ms, 710);
    assert_false(gatepage_show(&one.tenant, 0, &gatepage_open, false, 720 * (uint64_t)MS));
    assert_int_equal(one.tenant.page.page->beat_ms, 710);
}

static void test_without_a_page_all_gates_are_open(void **state)
{
    const struct tenant none = {.account = one.tenant.account, .page = LIMITSPAGE_INIT};

    gatepage_show_mode(&none, LIMITS_COMPUTE_ELASTIC);
    assert_false(gatepage_show(&none, 0, &closed, true, MS));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_mode_and_share_of_each_device),     TEST(test_the_gate_of_one_device_is_its_own),
        TEST(test_the_number_tells_of_news_alone),    TEST(test_a_gate_that_is_not_open_has_a_beat),
        TEST(test_without_a_page_all_gates_are_open),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
