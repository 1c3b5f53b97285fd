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
        const char *words; /* NULL: no advice */
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
    assert_int_equal(w.plan->gpus[1].sharing, SHARING_NONE);
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
        const char *words; /* NULL: no advice */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_slices_and_many_clients),
        cmocka_unit_test(test_one_name_for_slices_and_whole_gpus_is_said),
        cmocka_unit_test(test_mig_parent_under_none_is_plain),
        cmocka_unit_test(test_sizes_that_leave_something),
    };

    return cmocka_run_group_tests_name("slice/lint", tests, NULL, NULL);
}
