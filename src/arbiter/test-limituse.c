// SPDX-License-Identifier: Apache-2.0

/* What is shown of a container on two devices, from its account and its part in turns. */

#include "arbiter/limituse.h"

#include <unistd.h>

#include "arbiter/procfs.h"
#include "arbiter/test-gatetenant.h"

#define MIB (UINT64_C(1) << 20)

enum { N_DEVICES = 2, FIRST_PID = 70 };

static struct formerprocesses former; /* nobody, unless a test says so */

static const char *const uuids[N_DEVICES] = {"GPU-00112233-4455-6677-8899-aabbccddeeff",
                                             "GPU-ffeeddcc-bbaa-9988-7766-554433221100"};
static struct gatetenant one;
static struct tenants tenants;
static struct devicegates *gates;

static int set_up(void **state)
{
    gatetenant_init(&one, "pod-1", N_DEVICES, uuids);
    tenants = (struct tenants){.first = &one.tenant};
    gates = devicegates_new(&tenants);
    former = (struct formerprocesses)FORMERPROCESSES_INIT;
    return gates ? devicegates_set_mode(gates, LIMITS_COMPUTE_ELASTIC) : -1;
}

static int tear_down(void **state)
{
    devicegates_free(gates);
    gatetenant_deinit(&one);
    return 0;
}

static struct limituse use_of(size_t device)
{
    struct limituse use;

    limituse_read(&use, &one.tenant, device, LIMITS_ENFORCED, gates, &former);
    return use;
}

/* The driver shows so many processes on the first device; no library of theirs ever connected. */
static void read_driver(uint32_t n_processes)
{
    static const bool is_read[N_DEVICES] = {true, true};

    account_begin_reading(one.tenant.account, 1000);
    for (uint32_t i = 0; i < n_processes; i++)
        assert_int_equal(account_show(one.tenant.account, FIRST_PID + i, 0, 100 * MIB), 0);
    account_end_reading(one.tenant.account, is_read);
}

static void test_each_device_has_its_own_figures(void **state)
{
    snprintf(one.tenant.namespace_, sizeof(one.tenant.namespace_), "ml");
    snprintf(one.tenant.pod, sizeof(one.tenant.pod), "train");
    one.tenant.account->devices[0].limit_bytes = 1000 * MIB;
    one.tenant.shares_ppm[1] = 500000;
    read_driver(2);
    assert_string_equal(use_of(0).namespace_, "ml");
    assert_string_equal(use_of(0).pod, "train");
    assert_string_equal(use_of(0).pod_uid, "pod-1");
    assert_string_equal(use_of(0).uuid, uuids[0]);
    assert_int_equal(use_of(0).limit_bytes, 1000 * MIB);
    assert_int_equal(use_of(0).charged_bytes, 200 * MIB);
    assert_int_equal(use_of(0).share_ppm, GATETENANT_SHARE_PPM);
    assert_string_equal(use_of(1).uuid, uuids[1]);
    assert_int_equal(use_of(1).limit_bytes, 0);
    assert_int_equal(use_of(1).charged_bytes, 0);
    assert_int_equal(use_of(1).share_ppm, 500000);
    assert_int_equal(use_of(1).n_processes, 2); /* on any of its devices */
    assert_int_equal(use_of(1).compute, LIMITS_COMPUTE_ELASTIC);
}

/* Where limits are enforced, that is. */
static void test_who_is_starved(void **state)
{
    struct limituse use;

    one.tenant.account->is_starved = true;
    assert_true(use_of(0).is_starved);
    limituse_read(&use, &one.tenant, 0, LIMITS_OBSERVE, gates, &former);
    assert_false(use.is_starved);
}

static void test_who_takes_part_in_turns(void **state)
{
    read_driver(2);
    assert_false(use_of(0).has_turns);
    assert_int_equal(use_of(0).n_unenforced_compute, 2); /* they have no library */
    assert_int_equal(use_of(1).n_unenforced_compute, 0); /* nor a context there */
    gatetenant_join(&one);
    assert_int_equal(devicegates_update(gates, &one.tenant), 0);
    assert_true(use_of(0).has_turns);
    assert_true(use_of(1).has_turns);
    devicegates_forget(gates, &one.tenant);
    assert_false(use_of(0).has_turns);
}

/* This test is a process that lives; it was registered with the arbiter before. */
static void meet_before(bool takes_turns)
{
    static struct formerprocess item;

    item = (struct formerprocess){
        .pid = (uint32_t)getpid(), .is_former = true, .takes_turns = takes_turns};
    assert_int_equal(procfs_read_start("/", item.pid, &item.start, NULL), 0);
    former = (struct formerprocesses){.items = &item, .n = 1, .root = "/"};
}

static void test_who_took_part_before_is_idle(void **state)
{
    static const bool is_read[N_DEVICES] = {true, true};
    struct account_process *process;

    account_begin_reading(one.tenant.account, 1000);
    assert_int_equal(account_show(one.tenant.account, (uint32_t)getpid(), 0, MIB), 0);
    assert_int_equal(account_show(one.tenant.account, FIRST_PID, 0, MIB), 0);
    account_end_reading(one.tenant.account, is_read);
    assert_true(use_of(0).n_registered == 0 && use_of(0).n_unenforced_compute == 2);
    meet_before(false);
    assert_true(use_of(0).n_registered == 1 && use_of(0).n_unenforced_compute == 2);
    meet_before(true);
    assert_true(use_of(0).n_registered == 1 && use_of(0).n_unenforced_compute == 1);
    assert_int_equal(use_of(1).n_unenforced_compute, 0); /* no context there */
    assert_int_equal(account_register(one.tenant.account, (uint32_t)getpid(), 0, &process), 0);
    assert_int_equal(use_of(0).n_unenforced_compute, 2); /* this arbiter knows better */
}

/* It claims, and the device has no place for it: its gate is open, whatever its libraries are. */
static void test_who_was_refused_a_part_is_not_enforced(void **state)
{
    struct account_process *process;

    assert_int_equal(account_register(one.tenant.account, FIRST_PID, 0, &process), 0);
    process->takes_turns = true;
    read_driver(1);
    assert_int_equal(use_of(0).n_unenforced_compute, 0);
    gatetenant_join(&one);
    assert_int_equal(use_of(0).n_unenforced_compute, 1);
    assert_int_equal(devicegates_update(gates, &one.tenant), 0);
    assert_int_equal(use_of(0).n_unenforced_compute, 0);
}

static void test_where_nothing_is_shared_nobody_is_unenforced(void **state)
{
    read_driver(2);
    one.tenant.shares_ppm[0] = 1000000;
    assert_int_equal(use_of(0).n_unenforced_compute, 0);
    one.tenant.shares_ppm[0] = 999999;
    assert_int_equal(use_of(0).n_unenforced_compute, 2);
    assert_int_equal(devicegates_set_mode(gates, LIMITS_COMPUTE_NONE), 0);
    assert_int_equal(use_of(0).n_unenforced_compute, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_each_device_has_its_own_figures),
        TEST(test_who_is_starved),
        TEST(test_who_takes_part_in_turns),
        TEST(test_who_took_part_before_is_idle),
        TEST(test_who_was_refused_a_part_is_not_enforced),
        TEST(test_where_nothing_is_shared_nobody_is_unenforced),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
