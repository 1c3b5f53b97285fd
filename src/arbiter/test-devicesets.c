// SPDX-License-Identifier: Apache-2.0

/* Which devices are run at once, by who is on which of them. */

#include "arbiter/devicesets.h"
#include "arbiter/test-gatetenant.h"

enum { N_DEVICES = DEVICESETS_MOST + 6 };

static struct gateddevice *devices[N_DEVICES];
static struct gatetenant tenants[N_DEVICES]; /* each on a device and on the next one */

static int set_up(void **state)
{
    char names[2][GPU_UUID_SIZE];
    const char *const uuids[] = {names[0], names[1]};

    for (size_t i = 0; i < N_DEVICES; i++) {
        snprintf(names[0], sizeof(names[0]), "GPU-%zu", i);
        snprintf(names[1], sizeof(names[1]), "GPU-%zu", i + 1);
        devices[i] = gateddevice_new(names[0], LIMITS_COMPUTE_ELASTIC);
        if (!devices[i])
            return -1;
        if (i > 0)
            devices[i - 1]->next = devices[i];
        gatetenant_init(&tenants[i], "pod", 2, uuids);
    }
    return 0;
}

static int tear_down(void **state)
{
    for (size_t i = 0; i < N_DEVICES; i++) {
        gateddevice_remove(devices[i], NULL);
        gateddevice_free(devices[i]);
    }
    for (size_t i = 0; i < N_DEVICES; i++)
        gatetenant_deinit(&tenants[i]);
    return 0;
}

/* The tenant is on both of its devices. */
static void add(size_t tenant)
{
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(gateddevice_add(devices[tenant + i], &tenants[tenant].tenant, i), 0);
}

static void test_who_is_on_two_devices_makes_them_a_set(void **state)
{
    add(0);
    devicesets_tie(devices[0]);
    assert_ptr_equal(devices[1]->set, devices[0]);
    assert_ptr_equal(devices[0]->set, devices[0]);
    assert_ptr_equal(devices[2]->set, devices[2]);
}

/* Two that have nothing to do with each other, until another one is on both. */
static void test_sets_with_a_device_in_common_are_one(void **state)
{
    add(0);
    add(2);
    devicesets_tie(devices[0]);
    assert_ptr_not_equal(devices[0]->set, devices[3]->set);
    add(1);
    devicesets_tie(devices[0]);
    for (size_t i = 0; i < 4; i++)
        assert_ptr_equal(devices[i]->set, devices[0]->set);
}

static void test_who_is_gone_ties_nothing(void **state)
{
    add(0);
    devicesets_tie(devices[0]);
    gateddevice_remove(devices[0], &tenants[0].tenant);
    gateddevice_remove(devices[1], &tenants[0].tenant);
    devicesets_tie(devices[0]);
    assert_ptr_equal(devices[1]->set, devices[1]);
}

/* It stands for several containers. */
static void test_a_group_ties_nothing(void **state)
{
    for (size_t of = 0; of < 2; of++) {
        if (of == 0)
            add(0);
        gateddevice_find(devices[of], &tenants[0].tenant)->group = 1;
        devicesets_tie(devices[0]);
        assert_ptr_not_equal(devices[0]->set, devices[1]->set);
        gateddevice_find(devices[of], &tenants[0].tenant)->group = 0;
    }
    devicesets_tie(devices[0]);
    assert_ptr_equal(devices[0]->set, devices[1]->set);
}

static void test_a_set_has_so_many_devices(void **state)
{
    for (size_t i = 0; i + 1 < N_DEVICES; i++)
        add(i);
    devicesets_tie(devices[0]);
    for (size_t i = 0; i < N_DEVICES; i++) {
        size_t n = 0;

        for (size_t j = 0; j < N_DEVICES; j++)
            n += devices[j]->set == devices[i]->set;
        assert_in_range(n, 2, DEVICESETS_MOST);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_who_is_on_two_devices_makes_them_a_set),
        TEST(test_sets_with_a_device_in_common_are_one),
        TEST(test_who_is_gone_ties_nothing),
        TEST(test_a_group_ties_nothing),
        TEST(test_a_set_has_so_many_devices),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
