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
         "or `name: nvidia.com/gpu`, or offer them under both names by `gpuslice: {mig: {names: "
         "both}}`"},
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
        "cannot partition NVIDIA A10G: A30, A100, H100, H200, B200 and RTX PRO 6000 Blackwell GPUs "
        "can; "
        "share these GPUs with sharing.timeSlicing instead; guides that list the A10, and with it "
        "g5, for MIG are wrong");
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
    struct gpu gpus[] = {{.model = "NVIDIA A10G"},
                         {.index = 1, .mig_capable = true, .layout = {.enabled = true}}};
    const struct inventory machine = {.gpus = gpus, .n_gpus = 2};
    const struct policy mixed = {.mig_strategy = MIG_STRATEGY_MIXED};
    cleanup_problems struct problems problems = PROBLEMS_INIT;

    gpus[1].mig_enabled = true;
    lint_models(&mixed, &machine, &problems);
    assert_only(&problems, NULL);
}

/* A strategy is taken for what partitions GPUs. */
static void test_a_strategy_makes_no_mig_device(void **state)
{
    struct gpu gpus[] = {{.model = "NVIDIA A100-SXM4-40GB", .mig_capable = true, .board = 1}};
    struct mig_board board = {.n_profiles = 1, .profiles = {{.name = "1g.6gb"}}};
    const struct inventory machine = {.gpus = gpus, .n_gpus = 1, .boards = &board, .n_boards = 1};
    const struct policy single = {.mig_strategy = MIG_STRATEGY_SINGLE, .mig_strategy_at = {2, 16}},
                        none = POLICY_INIT;
    cleanup_problems struct problems problems = PROBLEMS_INIT;

    lint_models(&none, &machine, &problems);
    gpus[0].layout.pending = true;
    lint_models(&single, &machine, &problems);
    gpus[0].layout.pending = false;
    gpus[0].gaps[FACT_MIG] = FACT_FAILED;
    lint_models(&single, &machine, &problems);
    gpus[0].gaps[FACT_MIG] = FACT_KNOWN;
    assert_only(&problems, NULL);
    lint_models(&single, &machine, &problems);
    assert_int_equal(
        problems_with(&problems, PROBLEM_NOTE,
                      "migStrategy: single offers MIG devices and makes none, and MIG is off on "
                      "every GPU of this node, so they are offered whole; with mig.partition of "
                      "the chart (--mig-partition) the label "
                      "nvidia.com/mig.config=all-1g.6gb on the Node partitions them"),
        1);
    gpus[0].board = 0; /* its profiles are not known */
    lint_models(&single, &machine, &problems);
    assert_int_equal(problems_with(&problems, PROBLEM_NOTE,
                                   "the label nvidia.com/mig.config on the Node partitions them"),
                     1);
}

/* The configuration partitions them, or cannot. */
static void test_a_configured_layout_is_looked_at(void **state)
{
    struct gpu gpus[] = {
        {.model = "NVIDIA A100-SXM4-40GB", .mig_capable = true, .board = 1},
        {.index = 1, .model = "NVIDIA A100-SXM4-40GB", .mig_capable = true, .board = 1}};
    struct mig_board board = {
        .n_slots = 8, .n_profiles = 1, .profiles = {{.name = "1g.6gb", .max_count = 7}}};
    const struct inventory machine = {.gpus = gpus, .n_gpus = 2, .boards = &board, .n_boards = 1};
    char impossible[] = "all-1g.10gb", possible[] = "all-1g.6gb", of_file[] = "mine";
    struct policy policy = {
        .mig_strategy = MIG_STRATEGY_SINGLE, .mig_layout = impossible, .mig_layout_at = {5, 7}};
    cleanup_problems struct problems problems = PROBLEMS_INIT, fits = PROBLEMS_INIT,
                                     none = PROBLEMS_INIT;

    (void)state;
    lint_models(&policy, &machine, &problems);
    assert_int_equal(problems.n_items, 1);
    assert_int_equal(problems_with(&problems, PROBLEM_WARNING,
                                   "GPU 0 (NVIDIA A100-SXM4-40GB) has no MIG layout all-1g.10gb; "
                                   "it has "),
                     1);
    policy.mig_layout = possible;
    lint_models(&policy, &machine, &fits);
    policy.mig_layout = of_file;
    lint_models(&policy, &machine, &fits);
    assert_int_equal(fits.n_items, 2);
    assert_int_equal(problems_with(&fits, PROBLEM_NOTE, "the layout all-1g.6gb partitions them"),
                     1);
    assert_int_equal(problems_with(&fits, PROBLEM_NOTE, "the layout mine partitions them"), 1);
    gpus[0].mig_capable = gpus[1].mig_capable = false;
    lint_models(&policy, &machine, &none);
    assert_int_equal(problems_with(&none, PROBLEM_WARNING, "MIG cannot partition"), 1);
}

static void lint_offered_names(const struct world *w, struct problems *problems)
{
    struct plan *plan;

    assert_int_equal(plan_make(&w->machine, &w->policy, NULL, &plan), 0);
    lint_names(&w->policy, plan, problems);
    plan_free(plan);
}

/* The name that guides give pods to request under any strategy. */
static void test_names_of_mixed_under_single(void **state)
{
    struct world w = world_make(machine_p4d(), NULL, 0);
    cleanup_problems struct problems problems = PROBLEMS_INIT;

    for (size_t i = 0; i < 4; i++)
        machine_partition(&w.machine, i, "1g.5gb+me");
    w.policy.mig_strategy = MIG_STRATEGY_MIXED;
    lint_offered_names(&w, &problems);
    w.policy.mig_strategy = MIG_STRATEGY_SINGLE;
    lint_offered_names(&w, &problems); /* as many whole GPUs win, and no MIG device is offered */
    assert_only(&problems, NULL);
    machine_partition(&w.machine, 4, "1g.5gb+me");
    lint_offered_names(&w, &problems);
    assert_int_equal(problems_with(&problems, PROBLEM_NOTE,
                                   "the name nvidia.com/mig-1g.5gb.me belongs to migStrategy: "
                                   "mixed, and a pod that requests it finds no node under single, "
                                   "unless gpuslice.mig.names: both offers them under both names"),
                     1);
    w.policy.mig_names = MIG_NAMES_BOTH; /* then the plan says it, with the numbers */
    lint_offered_names(&w, &problems);
    assert_int_equal(problems_with(&problems, PROBLEM_NOTE, "belongs to"), 1);
    world_end(&w);
}

/* Under both names an entry may use either. */
static void test_names_of_mixed_beside_those_of_single(void **state)
{
    struct sharing_entry entry = entry_all(SHARING_TIME_SLICING, "nvidia.com/mig-1g.5gb", 2);
    const struct policy policy = {.mig_strategy = MIG_STRATEGY_SINGLE,
                                  .mig_names = MIG_NAMES_BOTH,
                                  .sharing = &entry,
                                  .n_sharing = 1};
    cleanup_problems struct problems problems = PROBLEMS_INIT;

    lint_policy(&policy, &problems);
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
        cmocka_unit_test(test_a_strategy_makes_no_mig_device),
        cmocka_unit_test(test_a_configured_layout_is_looked_at),
        cmocka_unit_test(test_names_of_mixed_under_single),
        cmocka_unit_test(test_names_of_mixed_beside_those_of_single),
        cmocka_unit_test(test_names_in_a_plan),
        cmocka_unit_test(test_mig_parents),
        cmocka_unit_test(test_unmatched_models_are_whole_gpus),
        cmocka_unit_test(test_sizes_beside_mig_devices_alone),
    };

    return cmocka_run_group_tests_name("slice/lint", tests, NULL, NULL);
}
