// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "arbiter/audit.h"
#include "base/array.h"
#include "base/text.h"

#define MIB        (UINT64_C(1) << 20)
#define UID(digit) "0000000" #digit "-0000-4000-8000-000000000000"
#define NO_INSTANCE                            \
    {                                          \
        DEVICE_NO_INSTANCE, DEVICE_NO_INSTANCE \
    }

/* Two GPUs, of which the second has two MIG devices. */
static struct gpu gpus[] = {
    {.index = 0, .uuid = "GPU-a", .mem_total_bytes = 16384 * MIB, .mem_reserved_bytes = 384 * MIB},
    {.index = 1, .uuid = "GPU-b", .mem_total_bytes = 40960 * MIB},
};
static struct device mig_devices[] = {
    {.uuid = "MIG-1",
     .kind = DEVICE_MIG,
     .gpu = 1,
     .mem_total_bytes = 5000 * MIB,
     .instance = {7, 0}},
    {.uuid = "MIG-2",
     .kind = DEVICE_MIG,
     .gpu = 1,
     .mig_index = 1,
     .mem_total_bytes = 5000 * MIB,
     .instance = {8, 0}},
};
static const struct inventory machine = {
    .gpus = gpus, .n_gpus = 2, .mig_devices = mig_devices, .n_mig_devices = 2};

#define ENTRY(pod, container, resource, ids, answer)                                           \
    "{\"PodUID\":\"" pod "\",\"ContainerName\":\"" container "\",\"ResourceName\":\"" resource \
    "\",\"DeviceIDs\":{\"-1\":[" ids "]},\"AllocResp\":\"" answer "\"}"
#define CHECKPOINT(entries, registered)                                                \
    "{\"Data\":{\"PodDeviceEntries\":[" entries "],\"RegisteredDevices\":{" registered \
    "}},\"Checksum\":1}"
#define FOUR "\"nvidia.com/gpu\":[\"GPU-a::0\",\"GPU-a::1\",\"GPU-a::2\",\"GPU-a::3\"]"

/* Names the grant 0123456789abcdef; made with protoc. */
#define ANSWER                                                                                     \
    "Ch8KFk5WSURJQV9WSVNJQkxFX0RFVklDRVMSBUdQVS0xIjUKIWdwdXNsaWNlLmRldi9ncmFudC5udmlkaWEuY29tLmdw" \
    "dRIQMDEyMzQ1Njc4OWFiY2RlZg=="

struct bed {
    struct audit audit;
    struct kubeletcheckpoint checkpoint;
    struct ledger ledger;
};

static void set_up(struct bed *bed, const char *checkpoint)
{
    struct error err = ERROR_INIT;

    *bed = (struct bed){.audit = AUDIT_INIT, .ledger = LEDGER_INIT};
    if (kubeletcheckpoint_parse(checkpoint, strlen(checkpoint), &bed->checkpoint, &err) < 0)
        fail_msg("%s", error_text(&err));
    assert_int_equal(audit_begin(&bed->audit, &machine), 0);
}

static void add_holders(struct bed *bed)
{
    assert_int_equal(audit_add_holders(&bed->audit, &bed->checkpoint, &bed->ledger, NULL, NULL), 0);
}

static void tear_down(struct bed *bed)
{
    audit_deinit(&bed->audit);
    kubeletcheckpoint_deinit(&bed->checkpoint);
    ledger_deinit(&bed->ledger);
}

static struct audit_owner in_pod(const char *uid, const char *name, const char *container)
{
    struct audit_owner owner = {.outcome = 0, .namespace_ = "default"};

    snprintf(owner.pod_uid, sizeof(owner.pod_uid), "%s", uid);
    snprintf(owner.pod, sizeof(owner.pod), "%s", name);
    snprintf(owner.container, sizeof(owner.container), "%s", container);
    return owner;
}

static void add(struct bed *bed, size_t gpu, struct device_instance instance, uint32_t pid,
                uint64_t mem_bytes, struct audit_owner owner)
{
    const struct gpu_process process = {.pid = pid, .instance = instance, .mem_bytes = mem_bytes};

    assert_int_equal(audit_add_process(&bed->audit, gpu, &process, &owner), 0);
}

#define WHOLE ((struct device_instance)NO_INSTANCE)

static void expect(const struct bed *bed, size_t place, enum audit_verdict verdict,
                   const char *sentence)
{
    cleanup_text struct text text = TEXT_INIT;

    assert_true(place < bed->audit.n_uses);
    assert_string_equal(audit_verdict_name(bed->audit.uses[place].verdict),
                        audit_verdict_name(verdict));
    audit_add_finding(&bed->audit, &bed->audit.uses[place], &text);
    assert_string_equal(text_string(&text), sentence);
}

/* Two processes of one container count together, against an equal part of what is registered. */
static void test_beside_another_plugin(void **state)
{
    struct bed bed;

    set_up(&bed, CHECKPOINT(ENTRY(UID(1), "main", "nvidia.com/gpu", "\"GPU-a::1\"", ""), FOUR));
    add_holders(&bed);
    add(&bed, 0, WHOLE, 12, 3000 * MIB, in_pod(UID(1), "train", "main"));
    add(&bed, 0, WHOLE, 11, 1000 * MIB, in_pod(UID(1), "train", "main"));
    audit_end(&bed.audit);
    assert_int_equal(bed.audit.n_uses, 1);
    assert_int_equal(bed.audit.uses[0].n_processes, 2);
    assert_int_equal(bed.audit.uses[0].pid, 11);
    assert_int_equal(bed.audit.uses[0].limit_bytes, 4000 * MIB);
    expect(&bed, 0, AUDIT_WITHIN, "");
    assert_int_equal(bed.audit.devices[0].used_bytes, 4000 * MIB);
    assert_int_equal(bed.audit.n_pods, 1);
    tear_down(&bed);
}

static void test_one_byte_too_many(void **state)
{
    struct bed bed;

    set_up(&bed, CHECKPOINT(ENTRY(UID(1), "main", "nvidia.com/gpu", "\"GPU-a::1\"", "") "," ENTRY(
                                UID(2), "main", "nvidia.com/gpu", "\"GPU-a::0\"", ""),
                            FOUR));
    add_holders(&bed);
    add(&bed, 0, WHOLE, 12, 4000 * MIB + 1, in_pod(UID(1), "train", "main"));
    audit_end(&bed.audit);
    expect(&bed, 0, AUDIT_OVER,
           "pod default/train (container main) uses 4000 MiB of GPU 0, 1 MiB more than its 1 of "
           "nvidia.com/gpu gives");
    assert_int_equal(bed.audit.n_pods, 2);
    assert_int_equal(bed.audit.n_pods_over, 1);
    tear_down(&bed);
}

/* Unhealthy ids are not registered, so the highest that is held tells how many there are. */
static void test_unhealthy_slices_are_not_registered(void **state)
{
    struct bed bed;

    set_up(&bed, CHECKPOINT(ENTRY(UID(1), "main", "nvidia.com/gpu", "\"GPU-a::3\"", ""),
                            "\"nvidia.com/gpu\":[\"GPU-a::0\"],\"other.com/gpu\":[\"GPU-a::0\"]"));
    add_holders(&bed);
    audit_end(&bed.audit);
    assert_int_equal(bed.audit.uses[0].limit_bytes, 4000 * MIB);
    tear_down(&bed);
}

/* The kubelet's file has a device with several NUMA nodes once for each. */
static void test_a_slice_of_two_numa_nodes_counts_once(void **state)
{
    struct bed bed;

    set_up(&bed, CHECKPOINT("{\"PodUID\":\"" UID(
                                1) "\",\"ContainerName\":\"main\","
                                   "\"ResourceName\":\"nvidia.com/gpu\",\"DeviceIDs\":"
                                   "{\"0\":[\"GPU-a::0\",\"GPU-a::1\"],\"1\":[\"GPU-a::0\"]}}",
                            FOUR));
    add_holders(&bed);
    add(&bed, 0, WHOLE, 12, 8001 * MIB, in_pod(UID(1), "train", "main"));
    audit_end(&bed.audit);
    assert_int_equal(bed.audit.uses[0].limit_bytes, 8000 * MIB);
    expect(&bed, 0, AUDIT_OVER,
           "pod default/train (container main) uses 8001 MiB of GPU 0, 1 MiB more than its 2 of "
           "nvidia.com/gpu give");
    tear_down(&bed);
}

/* What the grant says counts, whatever is registered now. */
static void test_a_grant_of_ours(void **state)
{
    struct grant grant = GRANT_INIT;
    struct bed bed;

    set_up(&bed, CHECKPOINT(ENTRY(UID(1), "main", "nvidia.com/gpu", "\"GPU-a::1\"", ANSWER), FOUR));
    memcpy(grant.id, "0123456789abcdef", sizeof(grant.id));
    grant.resource = strdup("nvidia.com/gpu");
    assert_int_equal(grant_add_id(&grant, "GPU-a::1"), 0);
    assert_int_equal(grant_add_device(&grant, "GPU-a", 500, 8000 * MIB), 0);
    assert_int_equal(ledger_add(&bed.ledger, &grant, 0), 0);
    grant_deinit(&grant);
    add_holders(&bed);
    add(&bed, 0, WHOLE, 12, 8000 * MIB, in_pod(UID(1), "train", "main"));
    audit_end(&bed.audit);
    assert_int_equal(bed.audit.uses[0].limit_bytes, 8000 * MIB);
    expect(&bed, 0, AUDIT_WITHIN, "");
    tear_down(&bed);
}

static void test_whole_and_partitioned(void **state)
{
    struct bed bed;

    set_up(&bed, CHECKPOINT(ENTRY(UID(1), "main", "nvidia.com/gpu", "\"GPU-a\"", "") "," ENTRY(
                                UID(2), "main", "nvidia.com/mig-1g.5gb", "\"MIG-2\"", ""),
                            ""));
    add_holders(&bed);
    add(&bed, 0, WHOLE, 1, 16000 * MIB, in_pod(UID(1), "whole", "main"));
    add(&bed, 1, (struct device_instance){8, 0}, 2, 4900 * MIB, in_pod(UID(2), "part", "main"));
    add(&bed, 1, (struct device_instance){7, 0}, 3, 100 * MIB, in_pod(UID(2), "part", "main"));
    audit_end(&bed.audit);
    assert_int_equal(bed.audit.n_uses, 3);
    expect(&bed, 0, AUDIT_WITHIN, "");
    expect(&bed, 1, AUDIT_OTHER_DEVICE,
           "pod default/part (container main) uses 100 MiB of MIG device 1:0, of which it holds no "
           "slice: it has slices of another device");
    expect(&bed, 2, AUDIT_WITHIN, "");
    tear_down(&bed);
}

/* A sidecar whose image sees every GPU, beside a container with a slice of this one. */
static void test_a_sidecar_without_slices(void **state)
{
    struct bed bed;

    set_up(&bed, CHECKPOINT(ENTRY(UID(1), "main", "nvidia.com/gpu", "\"GPU-a::1\"", ""), FOUR));
    add_holders(&bed);
    add(&bed, 0, WHOLE, 1, 100 * MIB, in_pod(UID(1), "train", "main"));
    add(&bed, 0, WHOLE, 2, 3000 * MIB, in_pod(UID(1), "train", "sidecar"));
    audit_end(&bed.audit);
    expect(&bed, 0, AUDIT_OTHER_DEVICE,
           "pod default/train (container sidecar) uses 3000 MiB of GPU 0 and requested no GPU, as "
           "another container of the pod did; have it request a slice of its own");
    expect(&bed, 1, AUDIT_WITHIN, "");
    tear_down(&bed);
}

static void test_who_requested_nothing(void **state)
{
    struct bed bed;
    const struct audit_owner host = {.outcome = PODCGROUP_NO_POD, .process = "dcgm"},
                             hidden = {.outcome = PODCGROUP_HIDDEN},
                             ended = {.outcome = -ESRCH, .process = "python"};

    set_up(&bed, CHECKPOINT("", FOUR));
    add_holders(&bed);
    add(&bed, 0, WHOLE, 1, 500 * MIB, in_pod(UID(1), "notebook", ""));
    add(&bed, 0, WHOLE, 2, 400 * MIB, host);
    add(&bed, 0, WHOLE, 3, 300 * MIB, ended);
    add(&bed, 0, WHOLE, 4, GPU_MEMORY_UNKNOWN, hidden);
    audit_end(&bed.audit);
    assert_int_equal(bed.audit.n_uses, 4);
    expect(&bed, 0, AUDIT_ASKED_NOTHING,
           "pod default/notebook uses 500 MiB of GPU 0 and requested no GPU: it sees every GPU "
           "because its image sets NVIDIA_VISIBLE_DEVICES=all, or it is privileged; have it "
           "request a slice");
    expect(&bed, 1, AUDIT_HOST, "");
    expect(&bed, 2, AUDIT_UNKNOWN,
           "process 3 (python) uses 300 MiB of GPU 0, and whose it is could not be found out");
    expect(&bed, 3, AUDIT_UNKNOWN, "process 4 uses GPU 0, and whose it is could not be found out");
    assert_true(bed.audit.devices[0].is_used_partly);
    assert_int_equal(bed.audit.n_pods, 1);
    tear_down(&bed);
}

/* The kernel's cgroup of a container whose log has gone tells the pod alone. */
static void test_a_container_of_unknown_name(void **state)
{
    struct bed bed;

    set_up(&bed, CHECKPOINT(ENTRY(UID(1), "a", "nvidia.com/gpu", "\"GPU-a::1\"", "") "," ENTRY(
                                UID(1), "b", "nvidia.com/gpu", "\"GPU-a::0\",\"GPU-a::2\"", ""),
                            FOUR));
    add_holders(&bed);
    add(&bed, 0, WHOLE, 9, 12000 * MIB, in_pod(UID(1), "train", ""));
    audit_end(&bed.audit);
    assert_int_equal(bed.audit.uses[0].n_slices, 3);
    expect(&bed, 0, AUDIT_WITHIN, "");
    tear_down(&bed);
}

static bool is_first(const char *pod_uid, void *userdata)
{
    (void)userdata;
    return str_equal(pod_uid, UID(1));
}

static void test_an_ended_pod_holds_nothing(void **state)
{
    struct bed bed;

    set_up(&bed, CHECKPOINT(ENTRY(UID(1), "main", "nvidia.com/gpu", "\"GPU-a::1\"", "") "," ENTRY(
                                UID(2), "main", "nvidia.com/gpu", "\"GPU-a::0\"", ""),
                            FOUR));
    assert_int_equal(audit_add_holders(&bed.audit, &bed.checkpoint, &bed.ledger, is_first, NULL),
                     0);
    audit_end(&bed.audit);
    assert_int_equal(bed.audit.n_uses, 1);
    assert_string_equal(bed.audit.uses[0].owner.pod_uid, UID(2));
    tear_down(&bed);
}

/* Nothing says in how many slices the device is offered: nobody is accused. */
static void test_without_a_limit(void **state)
{
    struct bed bed;

    set_up(&bed, CHECKPOINT(ENTRY(UID(1), "main", "nvidia.com/gpu", "\"GPU-a::1\"", ""), ""));
    add_holders(&bed);
    add(&bed, 0, WHOLE, 12, 16000 * MIB, in_pod(UID(1), "train", "main"));
    audit_end(&bed.audit);
    expect(&bed, 0, AUDIT_NO_LIMIT,
           "pod default/train (container main) uses 16000 MiB of GPU 0, and nothing says how much "
           "its 1 of nvidia.com/gpu give");
    tear_down(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_beside_another_plugin),
        cmocka_unit_test(test_one_byte_too_many),
        cmocka_unit_test(test_unhealthy_slices_are_not_registered),
        cmocka_unit_test(test_a_slice_of_two_numa_nodes_counts_once),
        cmocka_unit_test(test_a_grant_of_ours),
        cmocka_unit_test(test_whole_and_partitioned),
        cmocka_unit_test(test_a_sidecar_without_slices),
        cmocka_unit_test(test_who_requested_nothing),
        cmocka_unit_test(test_a_container_of_unknown_name),
        cmocka_unit_test(test_an_ended_pod_holds_nothing),
        cmocka_unit_test(test_without_a_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
