// SPDX-License-Identifier: Apache-2.0

/* Who is one unit of turns, by what processes say of handles, at which time. What a group has of
 * the device is test-devicegates.c's. */

#include "arbiter/gategroups.h"
#include "arbiter/test-gatetenant.h"

enum { N_TENANTS = 3, MS = 1000000 };

static const char *const uuid = "GPU-00112233-4455-6677-8899-aabbccddeeff";
static struct gatetenant tenants[N_TENANTS];
static struct gateddevice *device;
static uint64_t now_ns;

static int set_up(void **state)
{
    static const char *const pods[N_TENANTS] = {"pod-0", "pod-1", "pod-2"};

    device = gateddevice_new(uuid, LIMITS_COMPUTE_ELASTIC);
    now_ns = 1000 * (uint64_t)MS;
    for (size_t i = 0; i < N_TENANTS; i++) {
        gatetenant_init(&tenants[i], pods[i], 1, &uuid);
        gatetenant_join(&tenants[i]);
        assert_int_equal(gateddevice_add(device, &tenants[i].tenant, 0), 0);
    }
    return device ? 0 : -1;
}

static int tear_down(void **state)
{
    gateddevice_remove(device, NULL);
    gateddevice_free(device);
    for (size_t i = 0; i < N_TENANTS; i++)
        gatetenant_deinit(&tenants[i]);
    return 0;
}

static struct gatemember *find(size_t tenant)
{
    return gateddevice_find(device, &tenants[tenant].tenant);
}

/* Some time later. */
static bool update_after(uint64_t ms)
{
    now_ns += ms * MS;
    return gategroups_update(device, now_ns);
}

static bool are_together(size_t a, size_t b)
{
    const bool have_one_unit = find(a)->party.lead == find(b)->party.lead;

    assert_int_equal(have_one_unit, find(a)->group && find(a)->group == find(b)->group);
    return have_one_unit;
}

static void exchange(size_t from, size_t to, uint64_t handle)
{
    gatetenant_name(&tenants[from], EXCHANGE_GAVE, EXCHANGE_MEMORY, handle);
    gatetenant_name(&tenants[to], EXCHANGE_OPENED, EXCHANGE_MEMORY, handle);
}

static void end_process(size_t tenant)
{
    gatetenant_leave(&tenants[tenant]);
    gateddevice_note(device);
}

static void test_both_sides_make_a_group(void **state)
{
    assert_false(update_after(0));
    gatetenant_name(&tenants[0], EXCHANGE_GAVE, EXCHANGE_MEMORY, 1);
    assert_false(update_after(200));
    gatetenant_name(&tenants[1], EXCHANGE_OPENED, EXCHANGE_MEMORY, 1);
    assert_true(update_after(200));
    assert_true(are_together(0, 1));
    assert_false(are_together(0, 2));
    assert_false(update_after(200)); /* nothing is new */
}

static void test_others_come_to_the_group_that_is_there(void **state)
{
    uint64_t group;

    exchange(1, 2, 1);
    assert_true(update_after(0));
    group = find(1)->group;
    exchange(0, 2, 2);
    assert_true(update_after(200));
    assert_true(are_together(0, 1) && are_together(1, 2));
    assert_int_equal(find(0)->group, group);
}

/* However often there is news: processes decide that. */
static void test_it_is_looked_at_ten_times_a_second_at_most(void **state)
{
    assert_false(update_after(0)); /* they are new */
    exchange(0, 1, 1);
    assert_false(update_after(99));
    assert_false(are_together(0, 1));
    assert_true(device->has_news);
    assert_true(update_after(1));
    assert_true(are_together(0, 1));
}

static void test_who_left_a_group_is_in_none_for_ten_seconds(void **state)
{
    exchange(0, 1, 1);
    assert_true(update_after(0));
    end_process(1);
    assert_true(update_after(200));
    assert_false(are_together(0, 1));
    gatetenant_join(&tenants[1]);
    gateddevice_note(device);
    exchange(0, 1, 2);
    assert_false(update_after(200));
    assert_true(device->until_ns == now_ns + 9800 * (uint64_t)MS); /* it looks again by itself */
    assert_false(update_after(9799));
    assert_false(are_together(0, 1));
    assert_true(update_after(1));
    assert_true(are_together(0, 1));
}

/* Also when the one has ended that was their lead. */
static void test_of_three_the_others_stay_together(void **state)
{
    exchange(0, 1, 1);
    exchange(1, 2, 2);
    exchange(2, 0, 3);
    assert_true(update_after(0));
    for (size_t i = 0; i < N_TENANTS; i++)
        if (find(i)->party.lead == &find(i)->party) {
            const size_t a = (i + 1) % N_TENANTS, b = (i + 2) % N_TENANTS;

            end_process(i);
            assert_true(update_after(200));
            assert_true(are_together(a, b));
            assert_false(are_together(i, a));
            return;
        }
    fail_msg("the group has no lead");
}

/* Whose names everybody can read. */
static void test_descriptors_count_among_those_of_one_namespace(void **state)
{
    gatetenant_name(&tenants[0], EXCHANGE_GAVE, EXCHANGE_DESCRIPTOR, 1);
    gatetenant_name(&tenants[1], EXCHANGE_OPENED, EXCHANGE_DESCRIPTOR, 1);
    assert_false(update_after(0));
    for (size_t i = 0; i < 2; i++)
        snprintf(tenants[i].tenant.namespace_, sizeof(tenants[i].tenant.namespace_), "one");
    assert_true(update_after(200)); /* that they are named is news */
    assert_true(are_together(0, 1));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_both_sides_make_a_group),
        TEST(test_others_come_to_the_group_that_is_there),
        TEST(test_it_is_looked_at_ten_times_a_second_at_most),
        TEST(test_who_left_a_group_is_in_none_for_ten_seconds),
        TEST(test_of_three_the_others_stay_together),
        TEST(test_descriptors_count_among_those_of_one_namespace),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
