// SPDX-License-Identifier: Apache-2.0

/* What is shown of a node: every byte of a device is somebody's, the driver's, or idle. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "arbiter/statusdocument.h"
#include "base/array.h"

#define GIB(n) ((uint64_t)(n) << 30)

static struct audit_device devices[] = {
    {.device = {.uuid = "GPU-a", .mem_total_bytes = GIB(16), .mem_reserved_bytes = GIB(1)},
     .free_bytes = GIB(5)},
    {.device = {.uuid = "GPU-b", .gpu = 1, .mem_total_bytes = GIB(16)}, .gpu_index = 1},
};

static struct audit_use uses[] = {
    {.owner = {.pod_uid = "u1", .namespace_ = "ml", .pod = "train", .container = "main"},
     .n_processes = 2,
     .used_bytes = GIB(4),
     .resource = "nvidia.com/gpu",
     .n_slices = 1,
     .limit_bytes = GIB(8)},
    {.owner = {.pod_uid = "u2", .namespace_ = "ml", .pod = "serve", .container = "main"},
     .n_processes = 1,
     .used_bytes = GIB(2)},
    {.owner = {.process = "dcgm"}, .n_processes = 1, .used_bytes = GIB(1)},
    {.device = 1, .owner = {.process = "dcgm"}, .n_processes = 3, .used_bytes = GIB(2)},
};
static const struct audit audit = {
    .devices = devices, .n_devices = 2, .uses = uses, .n_uses = ARRAY_SIZE(uses)};

static const struct limituse limited[] = {{.pod_uid = "u1",
                                           .container = "main",
                                           .uuid = "GPU-a",
                                           .limit_bytes = GIB(7),
                                           .charged_bytes = GIB(5),
                                           .overhead_bytes = 300,
                                           .peak_bytes = GIB(6),
                                           .n_denied = 9,
                                           .n_processes = 2,
                                           .n_registered = 1}};

static json_t *tree;

static void show(const struct statusdocument *status)
{
    cleanup_text struct text text = TEXT_INIT;

    statusdocument_add(status, &text);
    tree = json_loads(text_string(&text), 0, NULL);
    assert_non_null(tree);
}

static int drop(void **state)
{
    (void)state;
    json_decref(tree);
    tree = NULL;
    return 0;
}

static const json_t *device_at(size_t place)
{
    return json_array_get(json_object_get(tree, "devices"), place);
}

static const json_t *container_at(size_t device, size_t place)
{
    return json_array_get(json_object_get(device_at(device), "containers"), place);
}

static uint64_t bytes(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    assert_true(json_is_integer(value));
    return (uint64_t)json_integer_value(value);
}

static void assert_closes(size_t device)
{
    uint64_t sum = bytes(device_at(device), "reserved_bytes") +
                   bytes(device_at(device), "not_ours_bytes") +
                   bytes(device_at(device), "idle_bytes");

    for (size_t i = 0; container_at(device, i); i++)
        sum += bytes(container_at(device, i), "used_bytes");
    assert_true(sum == bytes(device_at(device), "memory_bytes"));
}

static void test_every_byte_of_a_device_is_somewhere(void **state)
{
    show(&(struct statusdocument){.version = "1", .audit = &audit});
    assert_closes(0);
    assert_closes(1);
    /* By the driver more is in use than its list of processes tells. */
    assert_true(bytes(device_at(0), "not_ours_bytes") == GIB(4));
    assert_true(bytes(device_at(0), "idle_bytes") == GIB(5));
    assert_int_equal(bytes(device_at(0), "not_ours_processes"), 1);
    /* Where it does not tell what is free, processes are all there is. */
    assert_true(bytes(device_at(1), "not_ours_bytes") == GIB(2));
    assert_true(bytes(device_at(1), "idle_bytes") == GIB(14));
}

/* Two readings of one second do not fit each other exactly. */
static void test_pods_that_use_more_than_is_in_use(void **state)
{
    struct audit_device odd = devices[0];
    const struct audit one = {.devices = &odd, .n_devices = 1, .uses = uses, .n_uses = 1};

    odd.free_bytes = GIB(12);
    show(&(struct statusdocument){.version = "1", .audit = &one});
    assert_true(bytes(device_at(0), "not_ours_bytes") == 0);
}

static void test_the_account_of_a_container(void **state)
{
    show(&(struct statusdocument){.version = "1",
                                  .has_limits = true,
                                  .mode = LIMITS_NONE,
                                  .wished = LIMITS_ENFORCED,
                                  .is_off = true,
                                  .library = "/lib/1",
                                  .audit = &audit,
                                  .age_s = 0.5,
                                  .uses = limited,
                                  .n_uses = 1});
    assert_string_equal(json_string_value(json_object_get(tree, "mode")), "none");
    assert_string_equal(json_string_value(json_object_get(tree, "configured")), "enforced");
    assert_true(json_is_true(json_object_get(tree, "is_off")));
    assert_string_equal(json_string_value(json_object_get(tree, "library")), "/lib/1");
    assert_true(json_is_null(json_object_get(tree, "trouble")));
    assert_true(bytes(container_at(0, 0), "limit_bytes") == GIB(7)); /* the account's, not 8 */
    assert_true(bytes(container_at(0, 0), "used_bytes") == GIB(4));
    assert_true(bytes(container_at(0, 0), "charged_bytes") == GIB(5));
    assert_int_equal(bytes(container_at(0, 0), "overhead_bytes"), 300);
    assert_true(bytes(container_at(0, 0), "peak_bytes") == GIB(6));
    assert_int_equal(bytes(container_at(0, 0), "denials"), 9);
    assert_true(json_is_true(json_object_get(container_at(0, 0), "is_unenforced")));
    /* It has no account: it holds no slice. */
    assert_null(json_object_get(container_at(0, 1), "charged_bytes"));
    assert_true(json_is_null(json_object_get(container_at(0, 1), "limit_bytes")));
}

/* Its slices are from before there were grants: nothing but their limit is known. */
static void test_a_container_without_a_grant(void **state)
{
    struct limituse before = limited[0];

    before.n_registered = 0;
    before.is_ungranted = true;
    show(&(struct statusdocument){
        .version = "1", .has_limits = true, .audit = &audit, .uses = &before, .n_uses = 1});
    assert_true(json_is_true(json_object_get(container_at(0, 0), "is_unenforced")));
    assert_true(bytes(container_at(0, 0), "limit_bytes") == GIB(7));
    assert_null(json_object_get(container_at(0, 0), "charged_bytes"));
    assert_null(json_object_get(container_at(0, 0), "turns"));
}

static void test_turns_of_a_container_and_its_device(void **state)
{
    struct limituse sharing = limited[0];
    const json_t *turns;

    sharing.has_turns = true;
    sharing.compute = LIMITS_COMPUTE_ELASTIC;
    sharing.share_ppm = 250000;
    sharing.n_unenforced_compute = 1;
    sharing.turns = (struct devicegates_view){
        .turns = {.weight = TURNS_HEAVY, .received_ns = 7, .lent_ns = 2},
        .device = {.plan = TURNS_FREE, .reason = TURNS_MEASURED, .n_heavy = 1},
        .claims = {.waits = {[2] = 1}},
        .group = 5};
    show(&(struct statusdocument){.version = "1",
                                  .has_limits = true,
                                  .compute = LIMITS_COMPUTE_ELASTIC,
                                  .wished_compute = LIMITS_COMPUTE_STRICT,
                                  .audit = &audit,
                                  .uses = &sharing,
                                  .n_uses = 1});
    assert_string_equal(json_string_value(json_object_get(tree, "compute")), "elastic");
    assert_string_equal(json_string_value(json_object_get(tree, "compute_configured")), "strict");
    assert_int_equal(bytes(container_at(0, 0), "share_ppm"), 250000);
    assert_int_equal(bytes(container_at(0, 0), "unenforced_compute"), 1);
    turns = json_object_get(container_at(0, 0), "turns");
    assert_string_equal(json_string_value(json_object_get(turns, "weight")), "heavy");
    assert_int_equal(bytes(turns, "received_ns"), 7);
    assert_int_equal(bytes(turns, "lent_ns"), 2);
    assert_int_equal(bytes(turns, "wait_p99_us"), 256);
    assert_int_equal(bytes(turns, "group"), 5);
    turns = json_object_get(device_at(0), "turns");
    assert_string_equal(json_string_value(json_object_get(turns, "plan")), "free");
    assert_string_equal(json_string_value(json_object_get(turns, "reason")), "measured");
    assert_int_equal(bytes(turns, "heavy"), 1);
    assert_true(json_is_null(json_object_get(device_at(1), "turns")));
}

static void test_an_audit_alone(void **state)
{
    show(&(struct statusdocument){.version = "1", .audit = &audit});
    assert_true(json_is_false(json_object_get(tree, "has_limits")));
    assert_true(json_is_null(json_object_get(tree, "mode")));
    assert_true(bytes(container_at(0, 0), "limit_bytes") == GIB(8));
    assert_null(json_object_get(container_at(0, 0), "charged_bytes"));
}

static void test_before_the_first_audit(void **state)
{
    show(&(struct statusdocument){.version = "1", .no_driver = "there is no library"});
    assert_int_equal(json_array_size(json_object_get(tree, "devices")), 0);
    assert_true(json_is_null(json_object_get(tree, "age_seconds")));
    assert_string_equal(json_string_value(json_object_get(tree, "no_driver")),
                        "there is no library");
}

/* What MIG devices use is used of their GPU, and shown once. */
static void test_a_partitioned_gpu(void **state)
{
    struct audit_device parts[] = {
        {.device = {.uuid = "GPU-a", .mem_total_bytes = GIB(40)}, .free_bytes = GIB(36)},
        {.device = {.uuid = "MIG-1", .kind = DEVICE_MIG, .mem_total_bytes = GIB(5)}},
    };
    struct audit_use use = {.device = 1, .owner = {.pod_uid = "u1"}, .used_bytes = GIB(4)};
    const struct audit mig = {.devices = parts, .n_devices = 2, .uses = &use, .n_uses = 1};

    show(&(struct statusdocument){.version = "1", .audit = &mig});
    assert_true(bytes(device_at(0), "not_ours_bytes") == 0);
    assert_null(container_at(0, 0));
    assert_non_null(container_at(1, 0));
    assert_closes(1);
}

#define TEST(name) cmocka_unit_test_teardown(name, drop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_every_byte_of_a_device_is_somewhere),
        TEST(test_pods_that_use_more_than_is_in_use),
        TEST(test_the_account_of_a_container),
        TEST(test_a_container_without_a_grant),
        TEST(test_turns_of_a_container_and_its_device),
        TEST(test_an_audit_alone),
        TEST(test_before_the_first_audit),
        TEST(test_a_partitioned_gpu),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
