// SPDX-License-Identifier: Apache-2.0

/* What contexts of a node's devices are expected to cost, from reading to reading. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "arbiter/devicecosts.h"

#define FIRST  "GPU-00112233-4455-6677-8899-aabbccddeeff"
#define SECOND "GPU-ffffffff-4455-6677-8899-aabbccddeeff"
#define OTHER  "GPU-01010101-4455-6677-8899-aabbccddeeff"
#define MIB    (UINT64_C(1) << 20)

enum { T4_MIB = 105 };

/* Two of one kind, and one whose context is known from measurements. */
static struct gpu gpus[] = {
    {.uuid = FIRST, .model = "Tesla T4", .mem_total_bytes = 16000 * MIB},
    {.uuid = SECOND, .model = "Tesla T4", .mem_total_bytes = 16000 * MIB},
    {.uuid = OTHER, .model = "NVIDIA H200", .mem_total_bytes = 140000 * MIB},
};
static const struct inventory machine = {.gpus = gpus, .n_gpus = 3, .driver_version = "580.95.05"};
static const struct inventory smaller = {.gpus = gpus, .n_gpus = 1, .driver_version = "580.95.05"};

static struct tenant tenant; /* on all three */
static struct tenants tenants = {.first = &tenant};
static struct devicecosts costs;

static int set_up(void **state)
{
    tenant = (struct tenant){.uuids = {FIRST, SECOND, OTHER}, .account = account_new(3)};
    costs = (struct devicecosts){.items = NULL};
    return tenant.account ? 0 : -1;
}

static int tear_down(void **state)
{
    account_free(tenant.account);
    devicecosts_deinit(&costs);
    return 0;
}

static void update(const struct inventory *of)
{
    cleanup_audit struct audit audit = AUDIT_INIT;

    assert_int_equal(audit_begin(&audit, of), 0);
    audit_end(&audit);
    devicecosts_update(&costs, &tenants, &audit, of);
    devicecosts_apply(&costs, &tenant);
}

static uint64_t expected_mib(size_t device)
{
    return tenant.account->devices[device].context_bytes / MIB;
}

static void test_before_the_driver_was_read_nothing_is_known(void **state)
{
    devicecosts_apply(&costs, &tenant);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(tenant.account->devices[i].context_bytes, CONTEXTCOST_UNKNOWN_BYTES);
    update(&machine);
    assert_int_equal(expected_mib(0), CONTEXTCOST_UNKNOWN_BYTES / MIB);
    assert_int_equal(expected_mib(2), 518);
}

static void test_what_is_measured_on_one_counts_for_all_of_its_kind(void **state)
{
    tenant.account->devices[0].measured_context_bytes = T4_MIB * MIB;
    update(&machine);
    assert_int_equal(expected_mib(0), T4_MIB);
    assert_int_equal(expected_mib(1), T4_MIB);
    assert_int_equal(expected_mib(2), 518);
    assert_int_equal(tenant.account->devices[0].measured_context_bytes, 0);
}

/* It may come back, as after a reset: what was learned of its kind stays. */
static void test_a_device_that_is_gone_is_not_known(void **state)
{
    tenant.account->devices[1].measured_context_bytes = T4_MIB * MIB;
    update(&machine);
    update(&smaller);
    assert_int_equal(costs.n, 1);
    assert_int_equal(expected_mib(0), T4_MIB);
    assert_int_equal(expected_mib(1), CONTEXTCOST_UNKNOWN_BYTES / MIB);
    update(&machine);
    assert_int_equal(expected_mib(1), T4_MIB);
}

/* Whose kind nobody knows: it stays measured until a reading has the device. */
static void test_what_is_measured_on_a_device_that_is_gone_waits(void **state)
{
    tenant.account->devices[1].measured_context_bytes = T4_MIB * MIB;
    update(&smaller);
    assert_int_equal(expected_mib(0), CONTEXTCOST_UNKNOWN_BYTES / MIB);
    update(&machine);
    assert_int_equal(expected_mib(0), T4_MIB);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_before_the_driver_was_read_nothing_is_known),
        TEST(test_what_is_measured_on_one_counts_for_all_of_its_kind),
        TEST(test_a_device_that_is_gone_is_not_known),
        TEST(test_what_is_measured_on_a_device_that_is_gone_waits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
