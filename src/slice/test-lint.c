// SPDX-License-Identifier: Apache-2.0
#include "slice/lint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "slice/name.h"
#include "slice/test-machine.h"

static void test_small_slices_and_many_clients(void **state)
{
    static const struct {
        enum sharing_strategy strategy;
        unsigned replicas, cc_major;
        const char *words; /* NULL: no problem */
    } table[] = {
        {SHARING_TIME_SLICING, 31, 7, NULL},
        {SHARING_TIME_SLICING, 32, 7, "518 MiB"},
        {SHARING_TIME_SLICING, 1000, 7, "518 MiB"},
        {SHARING_TIME_SLICING, 1001, 7, "0 permille"},
        {SHARING_MPS, 48, 7, "518 MiB"},
        {SHARING_MPS, 49, 7, "48 clients"},
        {SHARING_MPS, 16, 6, NULL},
        {SHARING_MPS, 17, 6, "16 clients"},
        {SHARING_TIME_SLICING, 17, 6, NULL},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct sharing_entry entry = entry_all(table[i].strategy, NAME_GPU, table[i].replicas);
        struct world w = world_make(machine_p3_8xlarge(), &entry, 1);

        for (size_t g = 0; g < 4; g++)
            w.machine.gpus[g].cc_major = table[i].cc_major;
        plan_again(&w);
        assert_int_equal(w.plan->resources[0].n_slices, 4 * table[i].replicas);
        if (table[i].words)
            assert_int_equal(problems_with(&w.problems, PROBLEM_WARNING, table[i].words), 1);
        else
            assert_problems(&w, 0, 0, 0);
        world_end(&w);
    }
}

static void test_one_name_for_slices_and_whole_gpus_is_said(void **state)
{
    struct sharing_entry entry = counted(entry_all(SHARING_TIME_SLICING, NAME_GPU, 4), 1);
    struct world w = world_make(machine_p3_8xlarge(), &entry, 1);
    const struct plan_resource *gpu = &w.plan->resources[0];

    assert_resources(&w, "nvidia.com/gpu 7");
    assert_int_equal(gpu->replicas, 0);
    assert_int_equal(gpu->sharing, SHARING_TIME_SLICING);
    assert_int_equal(w.plan->devices[1].sharing, SHARING_NONE);
    assert_problems(&w, 0, 1, 0);
    assert_int_equal(problems_with(&w.problems, PROBLEM_WARNING, "a pod cannot choose"), 1);
    world_end(&w);
}

static void test_mig_parent_under_none_is_plain(void **state)
{
    struct world w = world_make(machine_p4d(), NULL, 0);

    w.machine.gpus[0].mig_enabled = true;
    plan_again(&w);
    assert_resources(&w, "nvidia.com/gpu 8");
    assert_int_equal(problems_with(&w.problems, PROBLEM_WARNING, "offered as a whole"), 1);
    world_end(&w);
}

static void test_sizes_that_leave_something(void **state)
{
    static const struct {
        unsigned share_permille, count;
        const char *words; /* NULL: no problem */
    } table[] = {
        {500, 2, NULL},
        {333, 3, "add up to 99.9 %"},
        {125, 1, "add up to 12.5 %"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct slice_size size = {.name = "nvidia.com/gpu-part",
                                  .share_permille = table[i].share_permille,
                                  .count = table[i].count};
        struct world w = world_make(machine_p3_8xlarge(), NULL, 0);

        w.policy.slices = &size;
        w.policy.n_slices = 1;
        plan_again(&w);
        assert_problems(&w, table[i].words != NULL, 0, 0);
        if (table[i].words)
            assert_int_equal(problems_with(&w.problems, PROBLEM_NOTE, table[i].words), 1);
        world_end(&w);
    }
}

/* Asserts that the only problem prints as `line`; NULL = that there is none. */
static void assert_only(const struct problems *problems, const char *line)
{
    char buffer[1024];

    assert_int_equal(problems->n_items, line ? 1 : 0);
    if (!line)
        return;
    problem_format(problems, &problems->items[0], buffer, sizeof(buffer));
    assert_string_equal(buffer, line);
    assert_int_equal(problems->items[0].severity, PROBLEM_WARNING);
}

static void test_names_and_strategies(void **state)
{
    static const struct {
        enum mig_strategy strategy;
        const char *name, *line;
    } table[] = {
        {MIG_STRATEGY_MIXED, "nvidia.com/mig-1g.5gb", NULL},
        {MIG_STRATEGY_SINGLE, "nvidia.com/gpu", NULL},
        {MIG_STRATEGY_SINGLE, "nvidia.com/mig-1g.5gb",
         ":7:9: sharing.timeSlicing.resources[0]: nvidia.com/mig-1g.5gb exists only with "
         "`migStrategy: "
         "mixed`; under single, MIG devices are called nvidia.com/gpu: write `migStrategy: mixed`, "
         "or `name: nvidia.com/gpu`"},
        {MIG_STRATEGY_NONE, "nvidia.com/mig-1g.5gb",
         ":7:9: sharing.timeSlicing.resources[0]: nvidia.com/mig-1g.5gb exists only with "
         "`migStrategy: "
         "mixed`; under none, no MIG device is published: write `migStrategy: mixed`"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct sharing_entry entry = {.strategy = SHARING_TIME_SLICING,
                                      .replicas = 4,
                                      .at = {7, 9},
                                      .path = "sharing.timeSlicing.resources[0]"};
        const struct policy policy = {
            .mig_strategy = table[i].strategy, .sharing = &entry, .n_sharing = 1};
        cleanup_problems struct problems problems = PROBLEMS_INIT;

        snprintf(entry.name, sizeof(entry.name), "%s", table[i].name);
        lint_policy(&policy, &problems);
        assert_only(&problems, table[i].line);
    }
}

static void test_gpus_without_mig(void **state)
{
    struct gpu gpus[] = {{.model = "NVIDIA A10G"}, {.index = 1, .model = "NVIDIA A10G"}};
    const struct inventory machine = {.gpus = gpus, .n_gpus = 2}, empty = INVENTORY_INIT;
    const struct policy none = POLICY_INIT,
                        single = {.mig_strategy = MIG_STRATEGY_SINGLE, .mig_strategy_at = {2, 16}};
    cleanup_problems struct problems problems = PROBLEMS_INIT;

    lint_models(&none, &machine, &problems);
    lint_models(&single, &empty, &problems);
    lint_policy(&single, &problems);
    assert_only(&problems, NULL);
    lint_models(&single, &machine, &problems);
    assert_only(
        &problems,
        ":2:16: flags.migStrategy: the configuration requires MIG (migStrategy: single), but MIG "
        "cannot partition NVIDIA A10G: A30, A100, H100 and later data-centre GPUs can; "
        "share these GPUs with sharing.timeSlicing instead");
}

/* Each with its own place: flags.migStrategy is not in such a file. */
static void test_what_requires_mig_is_named_where_it_is(void **state)
{
    struct gpu gpus[] = {{.model = "Tesla T4"}};
    const struct inventory machine = {.gpus = gpus, .n_gpus = 1};
    struct resource_rule rule = {.pattern = "1g.5gb", .name = "nvidia.com/x", .at = {4, 2}};
    struct sharing_entry entry = {.name = "nvidia.com/mig-1g.5gb",
                                  .at = {5, 3},
                                  .path = "sharing.timeSlicing.resources[0]",
                                  .replicas = 2};
    const struct {
        struct policy policy;
        const char *start;
    } table[] = {
        {{.mig_on_demand = true, .mig_on_demand_at = {3, 1}},
         ":3:1: gpuslice.mig.onDemand: the configuration requires MIG (onDemand: true), "},
        {{.mig_rules = &rule, .n_mig_rules = 1},
         ":4:2: resources.mig: the configuration requires MIG (resources.mig), "},
        {{.sharing = &entry, .n_sharing = 1},
         ":5:3: sharing.timeSlicing.resources[0]: the configuration requires MIG "
         "(nvidia.com/mig-1g.5gb), "},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        cleanup_problems struct problems problems = PROBLEMS_INIT;
        char line[512];

        lint_models(&table[i].policy, &machine, &problems);
        assert_int_equal(problems.n_items, 1);
        problem_format(&problems, &problems.items[0], line, sizeof(line));
        assert_memory_equal(line, table[i].start, strlen(table[i].start));
    }
}

static void test_one_capable_gpu_is_enough(void **state)
{
    struct gpu gpus[] = {{.model = "NVIDIA A10G"}, {.index = 1, .mig_capable = true}};
    const struct inventory machine = {.gpus = gpus, .n_gpus = 2};
    const struct policy mixed = {.mig_strategy = MIG_STRATEGY_MIXED};
    cleanup_problems struct problems problems = PROBLEMS_INIT;

    lint_models(&mixed, &machine, &problems);
    assert_only(&problems, NULL);
}

/* `check --machine` and the agent report a wrong name once, in the same words as `check`. */
static void test_names_in_a_plan(void **state)
{
    struct sharing_entry entry = entry_all(SHARING_TIME_SLICING, "nvidia.com/mig-1g.5gb", 2);
    struct world w = world_make(machine_p4d(), &entry, 1);
    cleanup_problems struct problems alone = PROBLEMS_INIT;

    lint_policy(&w.policy, &alone);
    assert_int_equal(alone.n_items, 1);
    assert_int_equal(w.problems.n_items, 1);
    assert_string_equal(alone.items[0].text, w.problems.items[0].text);
    world_end(&w);
}

/* Only a GPU that is offered whole in spite of MIG is worth a warning. */
static void test_mig_parents(void **state)
{
    struct world w = world_make(machine_p4d(), NULL, 0);

    machine_partition(&w.machine, 0, "1g.5gb 2g.10gb");
    plan_again(&w);
    assert_int_equal(problems_with(&w.problems, PROBLEM_WARNING, "GPU 0 has MIG enabled but"), 1);
    w.policy.mig_strategy = MIG_STRATEGY_MIXED;
    plan_again(&w);
    assert_problems(&w, 0, 0, 0);
    world_end(&w);
}

/* resources.gpus names whole GPUs: MIG devices need no pattern of it. */
static void test_unmatched_models_are_whole_gpus(void **state)
{
    struct resource_rule rule = {.pattern = "*H100*", .name = "nvidia.com/h100"};
    struct world w = world_make(machine_p4d(), NULL, 0);

    for (size_t i = 0; i < 7; i++)
        machine_partition(&w.machine, i, "1g.5gb");
    w.policy.mig_strategy = MIG_STRATEGY_MIXED;
    w.policy.gpu_rules = &rule;
    w.policy.n_gpu_rules = 1;
    plan_again(&w);
    assert_problems(&w, 1, 0, 0);
    assert_int_equal(problems_with(&w.problems, PROBLEM_NOTE, "no pattern matches GPU 7"), 1);
    world_end(&w);
}

/* gpuslice.slices on a node that offers MIG devices only reaches nothing, and that is no problem of
 * sharing. */
static void test_sizes_beside_mig_devices_alone(void **state)
{
    struct slice_size size = {.name = "nvidia.com/gpu-half", .share_permille = 500, .count = 2};
    struct world w = world_make(machine_make(1, "NVIDIA A30", 24576, GPU_PATH_UNKNOWN), NULL, 0);

    machine_partition(&w.machine, 0, "1g.6gb 1g.6gb");
    w.policy.mig_strategy = MIG_STRATEGY_MIXED;
    w.policy.slices = &size;
    w.policy.n_slices = 1;
    plan_again(&w);
    assert_resources(&w, "nvidia.com/mig-1g.6gb 2");
    assert_problems(&w, 0, 0, 0);
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_slices_and_many_clients),
        cmocka_unit_test(test_one_name_for_slices_and_whole_gpus_is_said),
        cmocka_unit_test(test_mig_parent_under_none_is_plain),
        cmocka_unit_test(test_sizes_that_leave_something),
        cmocka_unit_test(test_names_and_strategies),
        cmocka_unit_test(test_gpus_without_mig),
        cmocka_unit_test(test_what_requires_mig_is_named_where_it_is),
        cmocka_unit_test(test_one_capable_gpu_is_enough),
        cmocka_unit_test(test_names_in_a_plan),
        cmocka_unit_test(test_mig_parents),
        cmocka_unit_test(test_unmatched_models_are_whole_gpus),
        cmocka_unit_test(test_sizes_beside_mig_devices_alone),
    };

    return cmocka_run_group_tests_name("slice/lint", tests, NULL, NULL);
}
