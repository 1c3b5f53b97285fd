// SPDX-License-Identifier: Apache-2.0
#include "slice/planner.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"
#include "slice/name.h"
#include "slice/share.h"
#include "slice/test-machine.h"

/* GPU 0 in two devices, GPU 1 in one, the other six whole. */
static struct inventory machine_mixed(void)
{
    struct inventory machine = machine_p4d();

    machine_partition(&machine, 0, "3g.20gb 1g.5gb");
    machine_partition(&machine, 1, "1g.5gb");
    return machine;
}

static void test_mig_strategies(void **state)
{
    static const struct {
        enum mig_strategy strategy;
        const char *resources, *slices_per_device;
        size_t warnings;
    } table[] = {
        /* partitioned or not, each GPU is one device, and the two that are get a warning */
        {MIG_STRATEGY_NONE, "nvidia.com/gpu 8", "1 1 1 1 1 1 1 1", 2},
        /* the devices are not all alike */
        {MIG_STRATEGY_SINGLE, "nvidia.com/gpu 6", "0 0 0 1 1 1 1 1 1", 1},
        {MIG_STRATEGY_MIXED, "nvidia.com/gpu 6, nvidia.com/mig-1g.5gb 2, nvidia.com/mig-3g.20gb 1",
         "1 1 1 1 1 1 1 1 1", 0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct world w = world_make(machine_mixed(), NULL, 0);

        w.policy.mig_strategy = table[i].strategy;
        plan_again(&w);
        assert_resources(&w, table[i].resources);
        assert_slices_per_device(&w, table[i].slices_per_device);
        assert_problems(&w, 0, table[i].warnings, 0);
        world_end(&w);
    }
}

static void test_a_mig_device_in_a_plan(void **state)
{
    struct world w = world_make(machine_mixed(), NULL, 0);
    const struct plan_resource *small;
    const struct plan_device *on;

    w.policy.mig_strategy = MIG_STRATEGY_MIXED;
    plan_again(&w);
    small = plan_find_resource(w.plan, "nvidia.com/mig-1g.5gb");
    assert_int_equal(small->sharing, SHARING_NONE);
    assert_int_equal(small->replicas, 1);
    assert_string_equal(small->slices[0].id, machine_mig_uuid(0, 1));
    assert_string_equal(small->slices[1].id, machine_mig_uuid(1, 0));
    assert_int_equal(small->slices[0].share_permille, 1000);
    assert_int_equal(small->slices[0].mem_bytes, 4864 * SHARE_MIB);
    on = &w.plan->devices[small->slices[1].device];
    assert_int_equal(on->device.kind, DEVICE_MIG);
    assert_string_equal(on->device.profile, "1g.5gb");
    assert_int_equal(on->device.instance.gpu, 7);
    assert_string_equal(plan_gpu(w.plan, on)->uuid, machine_uuid(1));
    world_end(&w);
}

static void test_single_with_devices_alike(void **state)
{
    struct world w = world_make(machine_make(2, "NVIDIA A30", 24576, GPU_PATH_UNKNOWN), NULL, 0);

    machine_partition(&w.machine, 0, "2g.12gb 2g.12gb");
    machine_partition(&w.machine, 1, "2g.12gb 2g.12gb");
    w.policy.mig_strategy = MIG_STRATEGY_SINGLE;
    plan_again(&w);
    assert_resources(&w, "nvidia.com/gpu 4");
    assert_problems(&w, 0, 0, 0);
    /* one of another profile: it alone is left out */
    snprintf(w.machine.mig_devices[3].profile, DEVICE_PROFILE_SIZE, "1g.6gb");
    plan_again(&w);
    assert_resources(&w, "nvidia.com/gpu 3");
    assert_problems(&w, 0, 1, 0);
    assert_int_equal(problems_with(&w.problems, PROBLEM_WARNING, "MIG device 1:1 is left out: "),
                     1);
    assert_int_equal(
        problems_with(&w.problems, PROBLEM_WARNING, "on this node 2g.12gb: no kind has more"), 1);
    /* one that cannot be used anyway does not count */
    snprintf(w.machine.mig_devices[3].unusable, DEVICE_UNUSABLE_SIZE, "it is lost");
    plan_again(&w);
    assert_resources(&w, "nvidia.com/gpu 3");
    assert_int_equal(problems_with(&w.problems, PROBLEM_WARNING, "is left out: it is lost"), 1);
    world_end(&w);
}

/* What most GPUs have is served, however many devices the others have. */
static void test_single_serves_what_it_can(void **state)
{
    struct world w = world_make(machine_p4d(), NULL, 0);

    for (size_t i = 0; i < 6; i++)
        machine_partition(&w.machine, i, "3g.20gb 3g.20gb");
    machine_partition(&w.machine, 6, "1g.5gb 1g.5gb 1g.5gb 1g.5gb 1g.5gb 1g.5gb 1g.5gb");
    w.policy.mig_strategy = MIG_STRATEGY_SINGLE;
    plan_again(&w);
    assert_resources(&w, "nvidia.com/gpu 12");
    assert_problems(&w, 0, 1, 0); /* GPU 7 is whole */
    assert_int_equal(problems_with(&w.problems, PROBLEM_WARNING,
                                   "devices 6:0, 6:1, 6:2, 6:3, 6:4, 6:5, 6:6, 7 are left out"),
                     1);
    /* MIG is on there, and it has no device: that hides no other GPU */
    w.machine.gpus[7].mig_enabled = true;
    plan_again(&w);
    assert_resources(&w, "nvidia.com/gpu 12");
    assert_int_equal(problems_with(&w.problems, PROBLEM_WARNING, "there is no MIG device"), 1);
    world_end(&w);
}

/* Others partition one GPU after the other, from the last: pods may hold the others. */
static void test_single_in_a_tie(void **state)
{
    static const char *const offered[] = {"8", "7", "6", "5", "4", "35"};

    for (size_t n = 0; n < ARRAY_SIZE(offered); n++) {
        struct world w = world_make(machine_p4d(), NULL, 0);
        char resources[64];

        for (size_t i = 8 - n; i < 8; i++)
            machine_partition(&w.machine, i, "1g.5gb 1g.5gb 1g.5gb 1g.5gb 1g.5gb 1g.5gb 1g.5gb");
        w.policy.mig_strategy = MIG_STRATEGY_SINGLE;
        plan_again(&w);
        snprintf(resources, sizeof(resources), "nvidia.com/gpu %s", offered[n]);
        assert_resources(&w, resources);
        assert_int_equal(problems_with(&w.problems, PROBLEM_WARNING, "in a tie whole GPUs win"),
                         n > 0 && n <= 4);
        world_end(&w);
    }
}

static void test_names_by_profile(void **state)
{
    struct resource_rule rules[] = {{.pattern = "1g.*", .name = "nvidia.com/slim"}};
    struct world w = world_make(machine_mixed(), NULL, 0);

    w.policy.mig_rules = rules;
    w.policy.n_mig_rules = 1;
    w.policy.mig_strategy = MIG_STRATEGY_MIXED;
    snprintf(w.machine.mig_devices[0].profile, DEVICE_PROFILE_SIZE, "1c.3g.20gb+me");
    plan_again(&w);
    assert_resources(&w, "nvidia.com/gpu 6, nvidia.com/mig-1c.3g.20gb.me 1, nvidia.com/slim 2");
    snprintf(w.machine.mig_devices[0].profile, DEVICE_PROFILE_SIZE, "?");
    plan_again(&w);
    assert_resources(&w, "nvidia.com/gpu 6, nvidia.com/slim 2");
    assert_int_equal(problems_with(&w.problems, PROBLEM_WARNING, "no valid resource name"), 1);
    world_end(&w);
}

static void test_mig_devices_are_shared(void **state)
{
    struct device_ref refs[] = {{.kind = DEVICE_REF_MIG_INDEX, .index = 1, .mig_index = 0}};
    struct sharing_entry entries[] = {
        entry_all(SHARING_TIME_SLICING, "nvidia.com/mig-1g.5gb", 3),
        renamed(listed(entry_all(SHARING_TIME_SLICING, "nvidia.com/mig-1g.5gb", 2), refs, 1),
                "nvidia.com/half")};
    struct world w = world_make(machine_mixed(), entries, 0);
    const struct plan_resource *resource;
    char id[SLICE_ID_SIZE];

    w.policy.mig_strategy = MIG_STRATEGY_MIXED;
    w.policy.n_sharing = 1;
    plan_again(&w);
    assert_resources(&w, "nvidia.com/gpu 6, nvidia.com/mig-1g.5gb 6, nvidia.com/mig-3g.20gb 1");
    assert_problems(&w, 0, 0, 0);
    resource = plan_find_resource(w.plan, "nvidia.com/mig-1g.5gb");
    assert_int_equal(resource->replicas, 3);
    assert_int_equal(resource->slices[0].share_permille, 334);
    assert_int_equal(resource->slices[0].mem_bytes, 1622 * SHARE_MIB);
    assert_int_equal(resource->slices[2].mem_bytes, 1621 * SHARE_MIB);
    snprintf(id, sizeof(id), "%s::2", machine_mig_uuid(1, 0));
    assert_string_equal(resource->slices[5].id, id);
    w.policy.sharing = &entries[1];
    plan_again(&w);
    assert_resources(&w, "nvidia.com/gpu 6, nvidia.com/half 2, nvidia.com/mig-1g.5gb 1, "
                         "nvidia.com/mig-3g.20gb 1");
    assert_slices_per_device(&w, "1 1 2 1 1 1 1 1 1");
    world_end(&w);
}

static struct world world_of_two_names(struct sharing_entry *entries, size_t n)
{
    struct world w = world_make(machine_make(1, "NVIDIA A30", 24576, GPU_PATH_UNKNOWN), NULL, 0);

    machine_partition(&w.machine, 0, "1g.6gb 1g.6gb");
    w.policy.mig_strategy = MIG_STRATEGY_SINGLE;
    w.policy.mig_names = MIG_NAMES_BOTH;
    w.policy.mig_split_permille = 500;
    w.policy.sharing = entries;
    w.policy.n_sharing = n;
    plan_again(&w);
    return w;
}

/* One pool: the same ids under both names. */
static void test_two_names(void **state)
{
    struct world w = world_of_two_names(NULL, 0);
    const struct plan_resource *second;

    assert_resources(&w, "nvidia.com/gpu 2, nvidia.com/mig-1g.6gb 2");
    assert_problems(&w, 1, 0, 0);
    assert_int_equal(problems_with(&w.problems, PROBLEM_NOTE,
                                   "2 MIG devices are offered as nvidia.com/gpu and as "
                                   "nvidia.com/mig-1g.6gb, each under one name at a time: 1 and 1 "
                                   "while no pod waits"),
                     1);
    second = plan_find_resource(w.plan, "nvidia.com/mig-1g.6gb");
    assert_string_equal(second->slices[1].id, machine_mig_uuid(0, 1));
    assert_true(second->slices[1].is_second);
    assert_ptr_equal(plan_resource_of(w.plan, &w.plan->devices[1], true), second);
    w.policy.mig_strategy = MIG_STRATEGY_MIXED;
    plan_again(&w);
    assert_resources(&w, "nvidia.com/mig-1g.6gb 2");
    w.policy.mig_strategy = MIG_STRATEGY_SINGLE;
    w.machine.n_mig_devices = 0; /* whole GPUs have one name */
    w.machine.gpus[0].mig_enabled = false;
    plan_again(&w);
    assert_resources(&w, "nvidia.com/gpu 1");
    world_end(&w);
}

static void test_two_names_of_what_is_shared(void **state)
{
    struct device_ref refs[] = {{.kind = DEVICE_REF_MIG_INDEX, .index = 0, .mig_index = 0}};
    const struct sharing_entry gpus = entry_all(SHARING_TIME_SLICING, "nvidia.com/gpu", 3),
                               migs = entry_all(SHARING_TIME_SLICING, "nvidia.com/mig-1g.6gb", 3);
    const struct {
        struct sharing_entry entry;
        const char *resources;
    } table[] = {
        /* an entry may use either name, and is for both */
        {gpus, "nvidia.com/gpu 6, nvidia.com/mig-1g.6gb 6"},
        {migs, "nvidia.com/gpu 6, nvidia.com/mig-1g.6gb 6"},
        {renamed(gpus, "nvidia.com/gpu.shared"),
         "nvidia.com/gpu.shared 6, nvidia.com/mig-1g.6gb.shared 6"},
        {renamed(migs, "nvidia.com/mig-1g.6gb.shared"),
         "nvidia.com/gpu.shared 6, nvidia.com/mig-1g.6gb.shared 6"},
        /* a name of its own takes the place of the one that the entry has */
        {renamed(gpus, "nvidia.com/x"), "nvidia.com/mig-1g.6gb 6, nvidia.com/x 6"},
        {renamed(migs, "nvidia.com/x"), "nvidia.com/gpu 6, nvidia.com/x 6"},
        {renamed(gpus, "nvidia.com/mig-1g.6gb"), "nvidia.com/mig-1g.6gb 6"},
        {renamed(listed(gpus, refs, 1), "nvidia.com/mig-1g.6gb"),
         "nvidia.com/gpu 1, nvidia.com/mig-1g.6gb 4"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct sharing_entry entry = table[i].entry;
        struct world w = world_of_two_names(&entry, 1);

        assert_resources(&w, table[i].resources);
        world_end(&w);
    }
}

/* A driver may say that MIG is off and list MIG devices, as in the moment in which it changes. What
 * is left out, here for want of an MPS daemon, has no second name. */
static void test_two_names_of_what_is_left_out(void **state)
{
    struct sharing_entry entry = entry_all(SHARING_MPS, "nvidia.com/gpu", 2);
    struct world w = world_of_two_names(NULL, 0);

    entry.served = false;
    w.policy.sharing = &entry;
    w.policy.n_sharing = 1;
    w.machine.gpus[0].mig_enabled = false;
    plan_again(&w);
    assert_int_equal(problems_with(&w.problems, PROBLEM_WARNING, "no MPS control daemon"), 1);
    assert_int_equal(problems_with(&w.problems, PROBLEM_NOTE, "each under one name at a time"), 0);
    for (size_t i = 0; i < w.plan->n_devices; i++)
        assert_true(!*w.plan->devices[i].left_out || !*w.plan->devices[i].second);
    world_end(&w);
}

/* A rule gives the first name; nvidia.com/mig-<profile> stays the second. */
static void test_two_names_by_rules(void **state)
{
    struct resource_rule rule = {.pattern = "1g.*", .name = "nvidia.com/slim"};
    struct world w = world_of_two_names(NULL, 0);

    w.policy.mig_rules = &rule;
    w.policy.n_mig_rules = 1;
    plan_again(&w);
    assert_resources(&w, "nvidia.com/mig-1g.6gb 2, nvidia.com/slim 2");
    snprintf(rule.name, sizeof(rule.name), "nvidia.com/mig-1g.6gb");
    plan_again(&w);
    assert_resources(&w, "nvidia.com/mig-1g.6gb 2");
    world_end(&w);
}

/* gpuslice.slices defines parts of a GPU. */
static void test_sizes_leave_mig_devices_alone(void **state)
{
    struct slice_size size = {.name = "nvidia.com/gpu-half", .share_permille = 500, .count = 2};
    struct world w = world_make(machine_mixed(), NULL, 0);

    w.policy.slices = &size;
    w.policy.n_slices = 1;
    w.policy.mig_strategy = MIG_STRATEGY_MIXED;
    plan_again(&w);
    assert_resources(&w,
                     "nvidia.com/gpu-half 12, nvidia.com/mig-1g.5gb 2, nvidia.com/mig-3g.20gb 1");
    assert_problems(&w, 0, 0, 0);
    world_end(&w);
}

/* Each fault takes MIG device 0:1 out of the plan, with a reason, and leaves the others alone. */
static void test_mig_devices_left_out(void **state)
{
    static const struct {
        struct device device; /* what differs on it */
        const char *gpu_unusable, *slices_per_device, *words;
    } table[] = {
        {{.unusable = "its instance is gone"}, "", "1 0 1 1 1 1 1 1 1", "its instance is gone"},
        {{.uuid = "-"}, "", "1 0 1 1 1 1 1 1 1", "gives no UUID"},
        {{.uuid = "mig-00000000-0000-0000-0000-000000000000"},
         "",
         "1 0 1 1 1 1 1 1 1",
         "UUID of another device"},
        {{.profile = "-"}, "", "1 0 1 1 1 1 1 1 1", "no valid resource name"},
        {{.uuid = ""},
         "it is lost",
         "0 0 1 1 1 1 1 1 1",
         "MIG device 0:1 (NVIDIA A100-SXM4-40GB) "
         "is left out: it is lost"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct world w = world_make(machine_mixed(), NULL, 0);
        struct device *device = &w.machine.mig_devices[1];
        const struct device *fault = &table[i].device;

        memcpy(device->unusable, fault->unusable, sizeof(device->unusable));
        if (*fault->uuid)
            memcpy(device->uuid, *fault->uuid == '-' ? "" : fault->uuid,
                   *fault->uuid == '-' ? 1 : 48);
        if (*fault->profile)
            device->profile[0] = '\0';
        snprintf(w.machine.gpus[0].unusable, DEVICE_UNUSABLE_SIZE, "%s", table[i].gpu_unusable);
        w.policy.mig_strategy = MIG_STRATEGY_MIXED;
        plan_again(&w);
        assert_slices_per_device(&w, table[i].slices_per_device);
        assert_non_null(strstr(w.plan->devices[1].left_out,
                               strrchr(table[i].words, ':') ? "it is lost" : table[i].words));
        assert_int_equal(problems_with(&w.problems, PROBLEM_WARNING, table[i].words), 1);
        world_end(&w);
    }
}

/* MIG is on and no device has been created yet, beside a GPU that has some. */
static void test_gpu_without_mig_devices_yet(void **state)
{
    struct world w = world_make(machine_mixed(), NULL, 0);

    w.machine.gpus[2].mig_enabled = true;
    w.policy.mig_strategy = MIG_STRATEGY_MIXED;
    plan_again(&w);
    assert_slices_per_device(&w, "1 1 1 0 1 1 1 1 1");
    assert_int_equal(problems_with(&w.problems, PROBLEM_WARNING, "there is no MIG device"), 1);
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mig_strategies),
        cmocka_unit_test(test_a_mig_device_in_a_plan),
        cmocka_unit_test(test_single_with_devices_alike),
        cmocka_unit_test(test_single_serves_what_it_can),
        cmocka_unit_test(test_single_in_a_tie),
        cmocka_unit_test(test_names_by_profile),
        cmocka_unit_test(test_mig_devices_are_shared),
        cmocka_unit_test(test_two_names),
        cmocka_unit_test(test_two_names_of_what_is_shared),
        cmocka_unit_test(test_two_names_of_what_is_left_out),
        cmocka_unit_test(test_two_names_by_rules),
        cmocka_unit_test(test_sizes_leave_mig_devices_alone),
        cmocka_unit_test(test_mig_devices_left_out),
        cmocka_unit_test(test_gpu_without_mig_devices_yet),
    };

    return cmocka_run_group_tests_name("slice/planner-mig", tests, NULL, NULL);
}
