// SPDX-License-Identifier: Apache-2.0

/* Two containers on a node: which of them a reading charges for what the driver shows. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "arbiter/limitreading.h"

#define GPU   "GPU-00112233-4455-6677-8899-aabbccddeeff"
#define OTHER "GPU-ffffffff-4455-6677-8899-aabbccddeeff"
#define MIB   (UINT64_C(1) << 20)

enum { N_TENANTS = 2, LIMIT_MIB = 1000, PID = 70 };

static struct gpu gpus[] = {{.uuid = GPU, .model = "Tesla T4", .mem_total_bytes = 16000 * MIB},
                            {.uuid = OTHER, .model = "Tesla T4", .mem_total_bytes = 16000 * MIB}};
static const struct inventory machine = {.gpus = gpus, .n_gpus = 2};

static struct tenant items[N_TENANTS]; /* each with the first GPU */
static struct tenants tenants = {.first = items};
static struct limitreading reading;

static int set_up(void **state)
{
    reading = (struct limitreading){.is_begun = false};
    for (size_t i = 0; i < N_TENANTS; i++) {
        items[i] = (struct tenant){.next = i + 1 < N_TENANTS ? &items[i + 1] : NULL,
                                   .container = "main",
                                   .uuids = {GPU},
                                   .account = account_new(1)};
        if (!items[i].account)
            return -1;
        snprintf(items[i].pod_uid, sizeof(items[i].pod_uid), "pod-%zu", i);
        items[i].account->devices[0].limit_bytes = LIMIT_MIB * MIB;
    }
    return 0;
}

static int tear_down(void **state)
{
    for (size_t i = 0; i < N_TENANTS; i++)
        account_free(items[i].account);
    limitreading_deinit(&reading);
    return 0;
}

static void begin(void)
{
    limitreading_begin(&reading, &tenants, 1000);
}

/* With one process on the GPU, whose cgroups are those of that pod; mib 0: with none. */
static void end_with(const char *pod_uid, size_t gpu, uint64_t mib)
{
    const struct gpu_process process = {
        .pid = PID, .mem_bytes = mib * MIB, .instance = {DEVICE_NO_INSTANCE, DEVICE_NO_INSTANCE}};
    struct audit_owner owner = {.container = "main"};
    cleanup_audit struct audit audit = AUDIT_INIT;

    snprintf(owner.pod_uid, sizeof(owner.pod_uid), "%s", pod_uid);
    assert_int_equal(audit_begin(&audit, &machine), 0);
    if (mib)
        assert_int_equal(audit_add_process(&audit, gpu, &process, &owner), 0);
    audit_end(&audit);
    assert_int_equal(limitreading_end(&reading, &tenants, &audit), 0);
}

static void read_driver(const char *pod_uid, size_t gpu, uint64_t mib)
{
    begin();
    end_with(pod_uid, gpu, mib);
}

static uint64_t charged_mib(size_t tenant)
{
    return items[tenant].account->devices[0].charged_bytes / MIB;
}

static void test_who_never_connected_is_its_pods(void **state)
{
    read_driver("pod-1", 0, 300);
    assert_int_equal(charged_mib(0), 0);
    assert_int_equal(charged_mib(1), 300);
    read_driver("", 0, 0);
    assert_int_equal(charged_mib(1), 0);
}

/* Whatever its cgroups say by now. */
static void test_who_has_connected_is_known_by_that(void **state)
{
    struct account_process *process;

    assert_int_equal(account_register(items[0].account, PID, 0, &process), 0);
    read_driver("pod-1", 0, 300);
    assert_int_equal(charged_mib(0), 300);
    assert_int_equal(charged_mib(1), 0);
}

static void test_nobody_is_charged_for_what_is_not_theirs(void **state)
{
    read_driver("pod-9", 0, 300); /* has no slice */
    read_driver("pod-1", 1, 300); /* has none of that device */
    read_driver("", 0, 300);      /* is of no pod */
    for (size_t i = 0; i < N_TENANTS; i++) {
        assert_int_equal(charged_mib(i), 0);
        assert_int_equal(items[i].account->n_processes, 0);
    }
}

static void test_who_ended_meanwhile_is_not_charged(void **state)
{
    begin();
    limitreading_note_ended(&reading, &items[1], PID);
    end_with("pod-1", 0, 300);
    assert_int_equal(charged_mib(1), 0);
    read_driver("pod-1", 0, 300); /* another one has its number */
    assert_int_equal(charged_mib(1), 300);
}

/* Outside of a reading nothing is to be kept for one. */
static void test_who_ended_before_is_not_kept(void **state)
{
    limitreading_note_ended(&reading, &items[1], PID);
    assert_int_equal(reading.endings.n, 0);
    read_driver("pod-1", 0, 300);
    limitreading_note_ended(&reading, &items[1], PID);
    assert_int_equal(reading.endings.n, 0);
    assert_int_equal(charged_mib(1), 300);
}

static void test_a_reading_that_never_arrives_changes_nothing(void **state)
{
    read_driver("pod-1", 0, 300);
    begin();
    assert_int_equal(charged_mib(1), 300);
    read_driver("pod-1", 0, 400);
    assert_int_equal(charged_mib(1), 400);
}

/* It came after the driver was asked: the next reading has all of it. */
static void test_a_container_that_is_new_since_is_left_alone(void **state)
{
    tenants.first = &items[1];
    begin();
    tenants.first = items;
    end_with("pod-0", 0, 300);
    assert_int_equal(charged_mib(0), 0);
    read_driver("pod-0", 0, 300);
    assert_int_equal(charged_mib(0), 300);
}

static void test_what_could_not_be_read_stays(void **state)
{
    cleanup_audit struct audit audit = AUDIT_INIT;

    read_driver("pod-1", 0, 300);
    begin();
    assert_int_equal(audit_begin(&audit, &machine), 0);
    audit_note_unread(&audit, 0);
    audit_end(&audit);
    assert_int_equal(limitreading_end(&reading, &tenants, &audit), 0);
    assert_int_equal(charged_mib(1), 300);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_who_never_connected_is_its_pods),
        TEST(test_who_has_connected_is_known_by_that),
        TEST(test_nobody_is_charged_for_what_is_not_theirs),
        TEST(test_who_ended_meanwhile_is_not_charged),
        TEST(test_who_ended_before_is_not_kept),
        TEST(test_a_reading_that_never_arrives_changes_nothing),
        TEST(test_a_container_that_is_new_since_is_left_alone),
        TEST(test_what_could_not_be_read_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
