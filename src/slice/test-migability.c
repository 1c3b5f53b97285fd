// SPDX-License-Identifier: Apache-2.0
#include "slice/migability.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "slice/test-machine.h"

static void describes(const struct inventory *machine, size_t gpu, const char *expected)
{
    cleanup_text struct text text = TEXT_INIT;

    migability_describe(machine, &machine->gpus[gpu], &text);
    assert_string_equal(text_string(&text), expected);
}

static void test_a_gpu_that_can_lists_its_profiles(void **state)
{
    struct inventory machine = machine_make(1, "NVIDIA A30", 24576, GPU_PATH_UNKNOWN);
    const struct mig_board board = {
        .n_slots = 4,
        .n_profiles = 2,
        .profiles = {{.name = "1g.6gb", .max_count = 4}, {.name = "4g.24gb", .max_count = 1}}};

    machine.gpus[0].mig_capable = true;
    describes(
        &machine, 0,
        "can be partitioned by MIG, which is off: the driver lists its profiles only while MIG "
        "is on");
    assert_int_equal(inventory_share_board(&machine, &board, &machine.gpus[0].board), 0);
    describes(&machine, 0, "can be partitioned by MIG, which is off: 1g.6gb (4), 4g.24gb (1)");
    machine.gpus[0].layout.pending = true;
    describes(&machine, 0,
              "can be partitioned by MIG, which is off, and on after a reset: 1g.6gb (4), "
              "4g.24gb (1)");
    inventory_deinit(&machine);
}

static void test_one_that_cannot_gets_another_way(void **state)
{
    static const struct {
        const char *model, *claim;
    } table[] = {
        {"NVIDIA A10G", "; guides that list the A10, and with it g5, for MIG are wrong"},
        {"NVIDIA A10", "; guides that list the A10, and with it g5, for MIG are wrong"},
        {"Tesla V100-SXM2-16GB", "; MIG came with the generation after it"},
        {"Tesla T4", ""},
        {"NVIDIA L4", ""},
        {"NVIDIA A100-SXM4-40GB", ""}, /* by its driver's answer */
        {"NVIDIA A16", ""},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct inventory machine = machine_make(1, table[i].model, 24576, GPU_PATH_UNKNOWN);
        char expected[512];

        snprintf(
            expected, sizeof(expected),
            "cannot be partitioned by MIG%s; use sharing.timeSlicing, for slices of one size, or "
            "gpuslice.slices, for several sizes: their resources and labels are those of GPUs",
            table[i].claim);
        machine.gpus[0].mig_capable = false;
        describes(&machine, 0, expected);
        inventory_deinit(&machine);
    }
}

static void test_one_that_does_not_tell_is_neither(void **state)
{
    struct inventory machine = machine_make(1, "NVIDIA A10G", 24576, GPU_PATH_UNKNOWN);

    machine.gpus[0].mig_capable = false;
    machine.gpus[0].gaps[FACT_MIG] = FACT_FAILED;
    assert_int_equal(migability_of(&machine.gpus[0]), MIGABILITY_UNKNOWN);
    describes(&machine, 0,
              "may or may not be partitioned by MIG: the driver does not tell its mode");
    inventory_deinit(&machine);
}

static void test_equal_gpus_are_one_group(void **state)
{
    struct inventory machine = machine_make(5, "NVIDIA A10G", 24576, GPU_PATH_UNKNOWN);
    cleanup_text struct text text = TEXT_INIT;

    snprintf(machine.gpus[3].model, GPU_NAME_SIZE, "Tesla T4");
    assert_int_equal(migability_name_group(&machine, 0, &text), 3);
    assert_int_equal(migability_name_group(&machine, 3, &text), 4);
    assert_int_equal(migability_name_group(&machine, 4, &text), 5);
    assert_string_equal(text_string(&text),
                        "GPUs 0-2 (NVIDIA A10G)GPU 3 (Tesla T4)GPU 4 (NVIDIA A10G)");
    inventory_deinit(&machine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_gpu_that_can_lists_its_profiles),
        cmocka_unit_test(test_one_that_cannot_gets_another_way),
        cmocka_unit_test(test_one_that_does_not_tell_is_neither),
        cmocka_unit_test(test_equal_gpus_are_one_group),
    };

    return cmocka_run_group_tests_name("slice/migability", tests, NULL, NULL);
}
