// SPDX-License-Identifier: Apache-2.0
#include "slice/assign.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "slice/name.h"
#include "slice/test-machine.h"

static void test_first_of_two_entries_wins(void **state)
{
    struct sharing_entry entries[] = {
        counted(entry_all(SHARING_TIME_SLICING, NAME_GPU, 2), 2),
        renamed(entry_all(SHARING_TIME_SLICING, NAME_GPU, 4), "nvidia.com/small"),
    };
    struct world w;

    snprintf(entries[1].path, sizeof(entries[1].path), "sharing.timeSlicing.resources[1]");
    entries[1].at = (struct position){14, 5};
    w = world_make(machine_p3_8xlarge(), entries, 2);
    assert_resources(&w, "nvidia.com/gpu 4, nvidia.com/small 8");
    assert_slices_per_device(&w, "2 2 4 4");
    assert_problems(&w, 0, 0, 0); /* the file alone shows it: config/ reports it */
    world_end(&w);
}

/* A UUID and an index, or a count, mean one GPU: that only this machine knows. */
static void test_overlap_that_only_the_machine_shows(void **state)
{
    struct device_ref uuids[] = {{.kind = DEVICE_REF_UUID}, {.kind = DEVICE_REF_UUID}};
    static const struct {
        enum sharing_strategy strategy; /* of the entry by count */
        const char *words;
    } table[] = {
        {SHARING_TIME_SLICING,
         "GPU 1 is shared by sharing.timeSlicing.resources[0] (line 10, column 5) already, and the "
         "first entry wins; name other GPUs in devices"},
        {SHARING_MPS,
         "GPU 1 is shared by sharing.mps.resources[0] (line 20, column 5) already, and MPS wins "
         "over time slicing; name other GPUs in devices"},
    };

    snprintf(uuids[0].uuid, sizeof(uuids[0].uuid), "%s", machine_uuid(1));
    snprintf(uuids[1].uuid, sizeof(uuids[1].uuid), "%s", machine_uuid(2));
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct sharing_entry entries[] = {
            renamed(counted(entry_all(table[i].strategy, NAME_GPU, 2), 2), "nvidia.com/first"),
            renamed(listed(entry_all(SHARING_TIME_SLICING, NAME_GPU, 4), uuids, 2),
                    "nvidia.com/small"),
        };
        struct world w;

        snprintf(entries[1].path, sizeof(entries[1].path), "sharing.timeSlicing.resources[1]");
        entries[1].at = (struct position){14, 5};
        w = world_make(machine_p3_8xlarge(), entries, 2);
        assert_slices_per_device(&w, "2 2 4 1");
        assert_problems(&w, 0, 0, 1);
        assert_string_equal(w.problems.items[0].path, "sharing.timeSlicing.resources[1]");
        assert_int_equal(w.problems.items[0].at.line, 14);
        assert_string_equal(w.problems.items[0].text, table[i].words);
        world_end(&w);
    }
}

static void test_mps_wins_over_time_slicing(void **state)
{
    struct sharing_entry entries[] = {entry_all(SHARING_TIME_SLICING, NAME_GPU, 2),
                                      counted(entry_all(SHARING_MPS, NAME_GPU, 4), 1)};
    struct world w = world_make(machine_p3_8xlarge(), entries, 2);

    assert_slices_per_device(&w, "4 2 2 2");
    assert_int_equal(w.plan->devices[0].sharing, SHARING_MPS);
    assert_int_equal(w.plan->devices[1].sharing, SHARING_TIME_SLICING);
    assert_int_equal(w.plan->resources[0].sharing, SHARING_MPS);
    assert_problems(&w, 0, 1, 0);
    assert_int_equal(problems_with(&w.problems, PROBLEM_WARNING, "mixes ways of sharing"), 1);
    world_end(&w);
}

static void test_mps_and_time_slicing_on_different_gpus(void **state)
{
    struct device_ref two = {.kind = DEVICE_REF_INDEX, .index = 2};
    struct sharing_entry entries[] = {
        renamed(counted(entry_all(SHARING_TIME_SLICING, NAME_GPU, 2), 2), "nvidia.com/gpu.shared"),
        renamed(listed(entry_all(SHARING_MPS, NAME_GPU, 3), &two, 1), "nvidia.com/gpu.mps"),
    };
    struct world w = world_make(machine_p3_8xlarge(), entries, 2);

    assert_resources(&w, "nvidia.com/gpu 1, nvidia.com/gpu.mps 3, nvidia.com/gpu.shared 4");
    assert_problems(&w, 0, 0, 0);
    world_end(&w);
}

static void test_entry_of_a_resource_the_node_lacks(void **state)
{
    static const struct {
        const char *name;
        enum mig_strategy mig_strategy;
        enum problem_severity severity;
        const char *words;
    } table[] = {
        {"nvidia.com/gpux", MIG_STRATEGY_NONE, PROBLEM_WARNING, "the node has nvidia.com/gpu"},
        {"nvidia.com/a100", MIG_STRATEGY_NONE, PROBLEM_NOTE, "the node has nvidia.com/gpu"},
        {"nvidia.com/mig-1g.5gb", MIG_STRATEGY_NONE, PROBLEM_WARNING,
         "exists only with `migStrategy: mixed`; under none"},
        {"nvidia.com/mig-1g.5gb", MIG_STRATEGY_SINGLE, PROBLEM_WARNING,
         "under single, MIG devices are called nvidia.com/gpu"},
        {"nvidia.com/mig-1g.5gb", MIG_STRATEGY_MIXED, PROBLEM_NOTE,
         "has no MIG device on this node"},
        {"nvidia.com/slim", MIG_STRATEGY_SINGLE, PROBLEM_WARNING,
         "exists only with `migStrategy: mixed`; under single"},
    };
    struct resource_rule a100 = {.pattern = "*A100*", .name = "nvidia.com/a100"};
    struct resource_rule slim = {.pattern = "1g.*", .name = "nvidia.com/slim"};

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct sharing_entry entry = entry_all(SHARING_TIME_SLICING, table[i].name, 2);
        struct world w = world_make(machine_p3_8xlarge(), &entry, 1);

        w.policy.mig_strategy = table[i].mig_strategy;
        w.policy.gpu_rules = &a100;
        w.policy.n_gpu_rules = 1;
        w.policy.mig_rules = &slim;
        w.policy.n_mig_rules = 1;
        plan_again(&w);
        assert_resources(&w, "nvidia.com/gpu 4");
        assert_int_equal(problems_with(&w.problems, table[i].severity, table[i].words), 1);
        world_end(&w);
    }
}

/* The GPUs are there: it would be false that none is of that resource. */
static void test_entry_whose_gpus_are_excluded(void **state)
{
    struct device_ref refs[] = {{.kind = DEVICE_REF_INDEX, .index = 0},
                                {.kind = DEVICE_REF_INDEX, .index = 1},
                                {.kind = DEVICE_REF_INDEX, .index = 2},
                                {.kind = DEVICE_REF_INDEX, .index = 3}};
    struct resource_rule t4 = {.pattern = "Tesla T4", .name = "nvidia.com/t4"};
    struct sharing_entry entries[] = {entry_all(SHARING_TIME_SLICING, "nvidia.com/t4", 2),
                                      entry_all(SHARING_TIME_SLICING, NAME_GPU, 2)};
    struct world w = world_make(machine_p3_8xlarge(), entries, 2);

    (void)state;
    strcpy(w.machine.gpus[0].model, "Tesla T4");
    w.policy.gpu_rules = &t4;
    w.policy.n_gpu_rules = 1;
    w.policy.excluded = refs;
    for (w.policy.n_excluded = 1; w.policy.n_excluded <= 4; w.policy.n_excluded += 3) {
        plan_again(&w);
        assert_int_equal(problems_with(&w.problems, PROBLEM_NOTE, "excludes every nvidia.com/t4"),
                         1);
        assert_int_equal(problems_with(&w.problems, PROBLEM_NOTE, "excludes every nvidia.com/gpu"),
                         w.policy.n_excluded == 4);
        assert_int_equal(problems_with(&w.problems, PROBLEM_NOTE, "no GPU of this node"), 0);
        assert_int_equal(problems_with(&w.problems, PROBLEM_WARNING, "no GPU of this node"), 0);
    }
    w.policy.excluded = NULL;
    w.policy.n_excluded = 0;
    world_end(&w);
}

static void test_mps_does_not_take_mig_parents(void **state)
{
    struct sharing_entry entries[] = {entry_all(SHARING_MPS, NAME_GPU, 2),
                                      entry_all(SHARING_TIME_SLICING, NAME_GPU, 3)};
    struct world w = world_make(machine_p4d(), entries, 1);

    w.machine.gpus[0].mig_enabled = true;
    plan_again(&w);
    assert_slices_per_device(&w, "1 2 2 2 2 2 2 2");
    assert_int_equal(problems_with(&w.problems, PROBLEM_WARNING, "cannot be shared by MPS"), 1);
    w.policy.n_sharing = 2;
    plan_again(&w);
    assert_slices_per_device(&w, "3 2 2 2 2 2 2 2");
    world_end(&w);
}

/* One device of a GPU may be shared by one entry, another by another; MPS serves neither. */
static void test_mig_devices_are_assigned_one_by_one(void **state)
{
    struct device_ref first = {.kind = DEVICE_REF_MIG_INDEX, .index = 0, .mig_index = 0};
    struct sharing_entry entries[] = {
        renamed(listed(entry_all(SHARING_TIME_SLICING, "nvidia.com/mig-1g.5gb", 2), &first, 1),
                "nvidia.com/half"),
        renamed(entry_all(SHARING_TIME_SLICING, "nvidia.com/mig-1g.5gb", 4), "nvidia.com/quarter"),
        entry_all(SHARING_MPS, "nvidia.com/mig-1g.5gb", 3),
    };
    struct world w = world_make(machine_p4d(), entries, 0);

    machine_partition(&w.machine, 0, "1g.5gb 1g.5gb 2g.10gb");
    w.policy.mig_strategy = MIG_STRATEGY_MIXED;
    w.policy.n_sharing = 2;
    plan_again(&w);
    assert_slices_per_device(&w, "2 4 1 1 1 1 1 1 1 1");
    assert_resources(&w, "nvidia.com/gpu 7, nvidia.com/half 2, nvidia.com/mig-2g.10gb 1, "
                         "nvidia.com/quarter 4");
    w.policy.n_sharing = 3;
    plan_again(&w);
    assert_slices_per_device(&w, "2 4 1 1 1 1 1 1 1 1");
    assert_int_equal(
        problems_with(&w.problems, PROBLEM_WARNING, "MIG devices 0:0, 0:1 cannot be shared by MPS"),
        1);
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_of_two_entries_wins),
        cmocka_unit_test(test_overlap_that_only_the_machine_shows),
        cmocka_unit_test(test_mps_wins_over_time_slicing),
        cmocka_unit_test(test_mps_and_time_slicing_on_different_gpus),
        cmocka_unit_test(test_entry_of_a_resource_the_node_lacks),
        cmocka_unit_test(test_entry_whose_gpus_are_excluded),
        cmocka_unit_test(test_mps_does_not_take_mig_parents),
        cmocka_unit_test(test_mig_devices_are_assigned_one_by_one),
    };

    return cmocka_run_group_tests_name("slice/assign", tests, NULL, NULL);
}
