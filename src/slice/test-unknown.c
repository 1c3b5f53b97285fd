// SPDX-License-Identifier: Apache-2.0
#include "slice/unknown.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"
#include "slice/test-machine.h"

/* Marks the fact on the GPUs given as "0 1 3". */
static void leave_unknown(struct inventory *m, enum fact fact, enum fact_gap gap, const char *gpus)
{
    for (const char *c = gpus; *c; c++)
        if (*c != ' ')
            m->gpus[*c - '0'].gaps[fact] = (uint8_t)gap;
}

static void test_says_which_why_and_what_follows(void **state)
{
    static const struct {
        enum fact fact;
        enum fact_gap gap;
        const char *gpus, *words;
    } table[] = {
        {FACT_MEMORY, FACT_UNSUPPORTED, "0",
         "the memory of GPU 0 is unknown: nvmlDeviceGetMemoryInfo is not supported here; "},
        {FACT_MEMORY, FACT_FAILED, "0 1",
         "the memory of GPUs 0, 1 is unknown: nvmlDeviceGetMemoryInfo failed; "},
        {FACT_MINOR, FACT_ABSURD, "1 2 3",
         "the minor number of GPUs 1-3 is unknown: nvmlDeviceGetMinorNumber returned a value that "
         "cannot be true; "},
        {FACT_MIG, FACT_FAILED, "0 2 3", "the MIG mode of GPUs 0, 2, 3 is unknown: "},
        {FACT_NVLINKS, FACT_MISSING, "0 1 2 3",
         "the NVLinks of GPUs 0-3 are unknown: the driver does not have "
         "nvmlDeviceGetNvLinkState; "},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        cleanup_inventory struct inventory m = machine_p3_8xlarge();
        cleanup_problems struct problems problems = PROBLEMS_INIT;

        leave_unknown(&m, table[i].fact, table[i].gap, table[i].gpus);
        unknown_report(&m, &problems);
        assert_int_equal(problems.n_items, 1);
        if (!str_starts_with(problems.items[0].text, table[i].words))
            fail_msg("got: %s", problems.items[0].text);
    }
}

static void test_every_fact_has_words(void **state)
{
    for (unsigned fact = 0; fact < N_FACTS; fact++) {
        cleanup_inventory struct inventory m = machine_p3_8xlarge();
        cleanup_problems struct problems problems = PROBLEMS_INIT;

        assert_non_null(unknown_fact_name((enum fact)fact));
        if (fact <= FACT_CUDA_VERSION)
            m.gaps[fact] = FACT_FAILED;
        else
            leave_unknown(&m, (enum fact)fact, FACT_FAILED, "2");
        unknown_report(&m, &problems);
        assert_int_equal(problems.n_items, 1);
        assert_null(strstr(problems.items[0].text, "(null)"));
    }
}

static void test_two_reasons_are_two_sentences(void **state)
{
    cleanup_inventory struct inventory m = machine_p3_8xlarge();
    cleanup_problems struct problems problems = PROBLEMS_INIT;

    leave_unknown(&m, FACT_MEMORY, FACT_UNSUPPORTED, "0 1");
    leave_unknown(&m, FACT_MEMORY, FACT_FAILED, "3");
    unknown_report(&m, &problems);
    assert_int_equal(problems.n_items, 2);
    assert_int_equal(problems_with(&problems, PROBLEM_WARNING, "GPUs 0, 1 is unknown"), 1);
    assert_int_equal(problems_with(&problems, PROBLEM_WARNING, "GPU 3 is unknown"), 1);
}

static void test_is_silent_about_what_does_not_matter(void **state)
{
    cleanup_inventory struct inventory m = machine_p3_8xlarge();
    cleanup_problems struct problems problems = PROBLEMS_INIT;

    unknown_report(&m, &problems);
    leave_unknown(&m, FACT_MEMORY, FACT_FAILED, "0");
    snprintf(m.gpus[0].unusable, sizeof(m.gpus[0].unusable), "it is lost");
    leave_unknown(&m, FACT_MINOR, FACT_UNSUPPORTED, "1"); /* WSL2 has /dev/dxg instead */
    m.gpus[1].minor = -1;
    m.gpus[1].is_dxg = true;
    unknown_report(&m, &problems);
    assert_int_equal(problems.n_items, 0);
}

/* What a plan makes of a machine that tells nothing but handles and UUIDs. */
static void test_a_machine_that_tells_nothing_is_offered(void **state)
{
    struct sharing_entry entry = entry_all(SHARING_TIME_SLICING, "nvidia.com/gpu", 4);
    struct world w = world_make(machine_p3_8xlarge(), &entry, 1);
    static const char *const absent[] = {"gpu.memory",  "gpu.family",   "gpu.compute.major",
                                         "mig.capable", "cuda.runtime", "cuda.driver",
                                         "gpu.clique"};

    for (size_t i = 0; i < w.machine.n_gpus; i++) {
        struct gpu *gpu = &w.machine.gpus[i];
        struct gpu nothing = {.index = gpu->index, .minor = -1, .numa_node = -1};

        memcpy(nothing.uuid, gpu->uuid, sizeof(nothing.uuid));
        memset(nothing.gaps, FACT_FAILED, sizeof(nothing.gaps));
        *gpu = nothing;
    }
    w.machine.driver_version[0] = '\0';
    w.machine.cuda_version = 0;
    memset(w.machine.gaps, FACT_FAILED, FACT_MODEL);
    plan_again(&w);
    assert_resources(&w, "nvidia.com/gpu 16");
    assert_int_equal(w.plan->resources[0].slices[0].mem_bytes, 0);
    for (size_t i = 0; i < w.plan->n_labels; i++)
        for (size_t k = 0; k < ARRAY_SIZE(absent); k++)
            assert_null(strstr(w.plan->labels[i].key, absent[k]));
    assert_int_equal(problems_with(&w.problems, PROBLEM_WARNING, " unknown: ") +
                         problems_with(&w.problems, PROBLEM_NOTE, " unknown: "),
                     N_FACTS);
    world_end(&w);
}

static void test_without_a_node_there_is_no_cdi_device(void **state)
{
    struct world w = world_make(machine_p3_8xlarge(), NULL, 0);

    w.machine.gpus[2].minor = -1;
    w.machine.gpus[2].gaps[FACT_MINOR] = FACT_UNSUPPORTED;
    plan_again(&w);
    assert_slices_per_device(&w, "1 1 1 1");
    w.policy.needs_nodes = true;
    plan_again(&w);
    assert_slices_per_device(&w, "1 1 0 1");
    assert_non_null(strstr(w.plan->devices[2].left_out, "device node is unknown"));
    w.machine.gpus[2].is_dxg = true;
    plan_again(&w);
    assert_slices_per_device(&w, "1 1 1 1");
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_says_which_why_and_what_follows),
        cmocka_unit_test(test_every_fact_has_words),
        cmocka_unit_test(test_two_reasons_are_two_sentences),
        cmocka_unit_test(test_is_silent_about_what_does_not_matter),
        cmocka_unit_test(test_a_machine_that_tells_nothing_is_offered),
        cmocka_unit_test(test_without_a_node_there_is_no_cdi_device),
    };

    return cmocka_run_group_tests_name("unknown", tests, NULL, NULL);
}
