// SPDX-License-Identifier: Apache-2.0
#include "cli/mig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"

/* Asserts that the only problem prints like `line`; NULL = that there is none. */
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
         ":7:9: sharing.timeSlicing.resources[0]: nvidia.com/mig-1g.5gb belongs to `migStrategy: "
         "mixed`; under single, MIG devices are called nvidia.com/gpu: write `migStrategy: mixed`, "
         "or `name: nvidia.com/gpu`"},
        {MIG_STRATEGY_NONE, "nvidia.com/mig-1g.5gb",
         ":7:9: sharing.timeSlicing.resources[0]: nvidia.com/mig-1g.5gb belongs to `migStrategy: "
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
        mig_advise(&policy, NULL, &problems);
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

    mig_advise(&none, &machine, &problems);
    mig_advise(&single, &empty, &problems);
    mig_advise(&single, NULL, &problems);
    assert_only(&problems, NULL);
    mig_advise(&single, &machine, &problems);
    assert_only(
        &problems,
        ":2:16: flags.migStrategy: the configuration speaks of MIG (migStrategy: single), but MIG "
        "cannot partition NVIDIA A10G: A30, A100, H100 and later data-centre GPUs can; "
        "share these GPUs by sharing.timeSlicing instead");
}

static void test_one_capable_gpu_is_enough(void **state)
{
    struct gpu gpus[] = {{.model = "NVIDIA A10G"}, {.index = 1, .mig_capable = true}};
    const struct inventory machine = {.gpus = gpus, .n_gpus = 2};
    const struct policy mixed = {.mig_strategy = MIG_STRATEGY_MIXED};
    cleanup_problems struct problems problems = PROBLEMS_INIT;

    mig_advise(&mixed, &machine, &problems);
    assert_only(&problems, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_and_strategies),
        cmocka_unit_test(test_gpus_without_mig),
        cmocka_unit_test(test_one_capable_gpu_is_enough),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
