// SPDX-License-Identifier: Apache-2.0
#include "slice/select.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "slice/name.h"
#include "slice/test-machine.h"

enum { N_GPUS = 5 };

/* GPU 2 is left out, GPU 4 is of another model. */
static void make_devices(struct plan *plan)
{
    for (unsigned i = 0; i < N_GPUS; i++) {
        struct plan_device *on = &plan->devices[i];

        plan->gpus[i].index = i;
        on->device.gpu = i;
        snprintf(on->device.uuid, GPU_UUID_SIZE, "%s", machine_uuid(i));
        snprintf(plan->gpus[i].uuid, GPU_UUID_SIZE, "%s", machine_uuid(i));
        snprintf(on->base, RESOURCE_NAME_SIZE, i == 4 ? "nvidia.com/t4" : NAME_GPU);
    }
    snprintf(plan->devices[2].left_out, sizeof(plan->devices[2].left_out), "it is lost");
}

/* "01.3." -> the GPUs reached; how many problems, and the words of one. */
static void assert_reached(struct device_selector devices, const char *expected, size_t n_problems,
                           enum problem_severity severity, const char *words)
{
    struct sharing_entry entry = entry_all(SHARING_TIME_SLICING, NAME_GPU, 2);
    struct problems problems = PROBLEMS_INIT;
    struct plan_device on[N_GPUS] = {0};
    struct gpu gpus[N_GPUS] = {0};
    struct plan plan = {.gpus = gpus, .n_gpus = N_GPUS, .devices = on, .n_devices = N_GPUS};
    bool reached[N_GPUS];

    make_devices(&plan);
    entry.devices = devices;
    select_devices(&entry, &plan, &problems, reached);
    for (size_t i = 0; i < N_GPUS; i++)
        assert_int_equal(reached[i], expected[i] != '.');
    assert_int_equal(problems.n_items, n_problems);
    if (words)
        assert_int_equal(problems_with(&problems, severity, words), 1);
    problems_deinit(&problems);
}

static void test_all_and_count(void **state)
{
    assert_reached((struct device_selector){.kind = DEVICES_ALL}, "01.3.", 0, 0, NULL);
    assert_reached((struct device_selector){.kind = DEVICES_COUNT, .count = 2}, "01...", 0, 0,
                   NULL);
    assert_reached((struct device_selector){.kind = DEVICES_COUNT, .count = 3}, "01.3.", 0, 0,
                   NULL);
    assert_reached((struct device_selector){.kind = DEVICES_COUNT, .count = 4}, "01.3.", 1,
                   PROBLEM_WARNING, "asks for 4 GPUs, but this node has 3 of nvidia.com/gpu");
    assert_reached((struct device_selector){.kind = DEVICES_LIST}, ".....", 0, 0, NULL);
}

static void test_one_reference(void **state)
{
    static const struct {
        struct device_ref ref;
        const char *reached;
        const char *words;
    } table[] = {
        {{.kind = DEVICE_REF_INDEX, .index = 3}, "...3.", NULL},
        {{.kind = DEVICE_REF_UUID, .uuid = "GPU-00000000-0000-0000-0000-000000000001"},
         ".1...",
         NULL},
        {{.kind = DEVICE_REF_UUID, .uuid = "gpu-00000000-0000-0000-0000-000000000001"},
         ".1...",
         NULL},
        {{.kind = DEVICE_REF_INDEX, .index = 5}, ".....", "GPU 5 in devices is not on this node"},
        {{.kind = DEVICE_REF_UUID, .uuid = "GPU-x"},
         ".....",
         "GPU-x in devices is not on this node"},
        {{.kind = DEVICE_REF_INDEX, .index = 2}, ".....", "is left out: it is lost"},
        {{.kind = DEVICE_REF_INDEX, .index = 4},
         ".....",
         "is a nvidia.com/t4, not a nvidia.com/gpu"},
        {{.kind = DEVICE_REF_MIG_INDEX, .index = 0, .mig_index = 1},
         ".....",
         "MIG device 0:1 in devices is passed over"},
        {{.kind = DEVICE_REF_UUID, .uuid = "MIG-77"}, ".....", "MIG-77 in devices is passed over"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct device_ref ref = table[i].ref;

        assert_reached((struct device_selector){.kind = DEVICES_LIST, .refs = &ref, .n_refs = 1},
                       table[i].reached, table[i].words != NULL, PROBLEM_WARNING, table[i].words);
    }
}

static void test_twice_is_noted(void **state)
{
    struct device_ref refs[] = {
        {.kind = DEVICE_REF_INDEX, .index = 1},
        {.kind = DEVICE_REF_UUID, .uuid = "GPU-00000000-0000-0000-0000-000000000001"}};

    assert_reached((struct device_selector){.kind = DEVICES_LIST, .refs = refs, .n_refs = 2},
                   ".1...", 1, PROBLEM_NOTE, "named twice");
}

#define INDEX(i)                             \
    {                                        \
        .kind = DEVICE_REF_INDEX, .index = i \
    }
#define MIG(i, j)                                                \
    {                                                            \
        .kind = DEVICE_REF_MIG_INDEX, .index = i, .mig_index = j \
    }
#define UUID(u)                            \
    {                                      \
        .kind = DEVICE_REF_UUID, .uuid = u \
    }

static void test_overlap_without_a_machine(void **state)
{
    static struct device_ref one[] = {INDEX(1)}, three[] = {INDEX(3)},
                             both[] = {INDEX(3), INDEX(1)}, mig_a[] = {MIG(1, 0)},
                             mig_b[] = {MIG(1, 1)}, uuid[] = {UUID("GPU-a")},
                             upper[] = {UUID("GPU-A")};
    static const struct device_selector all = {.kind = DEVICES_ALL},
                                        two = {.kind = DEVICES_COUNT, .count = 2},
                                        list_1 = {DEVICES_LIST, 0, one, 1, {0, 0}},
                                        list_3 = {DEVICES_LIST, 0, three, 1, {0, 0}},
                                        list_31 = {DEVICES_LIST, 0, both, 2, {0, 0}},
                                        list_a = {DEVICES_LIST, 0, mig_a, 1, {0, 0}},
                                        list_b = {DEVICES_LIST, 0, mig_b, 1, {0, 0}},
                                        list_u = {DEVICES_LIST, 0, uuid, 1, {0, 0}},
                                        list_U = {DEVICES_LIST, 0, upper, 1, {0, 0}},
                                        none = {.kind = DEVICES_LIST};
    static const struct {
        const struct device_selector *a, *b;
        bool overlap;
    } table[] = {
        {&all, &all, true},        {&all, &two, true},        {&two, &two, true},
        {&all, &list_3, true},     {&all, &list_u, true},     {&all, &none, false},
        {&two, &list_1, true},     {&two, &list_3, false},    {&two, &list_31, true},
        {&two, &list_u, false},    {&list_1, &list_3, false}, {&list_1, &list_31, true},
        {&list_1, &list_a, false}, {&list_a, &list_b, false}, {&list_a, &list_a, true},
        {&list_u, &list_U, true},  {&list_1, &list_u, false}, {&none, &none, false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct sharing_entry a = entry_all(SHARING_TIME_SLICING, NAME_GPU, 2), b = a;

        a.devices = *table[i].a;
        b.devices = *table[i].b;
        assert_int_equal(select_surely_overlap(&a, &b), table[i].overlap);
        assert_int_equal(select_surely_overlap(&b, &a), table[i].overlap);
        snprintf(b.name, sizeof(b.name), "nvidia.com/t4");
        assert_false(select_surely_overlap(&a, &b));
    }
}

static void test_who_leaves_no_gpu(void **state)
{
    struct resource_rule t4 = {.pattern = "*T4*", .name = "nvidia.com/t4"};
    struct sharing_entry entries[] = {counted(entry_all(SHARING_MPS, NAME_GPU, 2), 2),
                                      entry_all(SHARING_TIME_SLICING, "nvidia.com/t4", 2),
                                      entry_all(SHARING_TIME_SLICING, NAME_GPU, 2)};
    struct policy policy = {.sharing = entries, .n_sharing = 2};

    assert_null(select_find_taker_of_all(&policy));
    policy.n_sharing = 3;
    assert_ptr_equal(select_find_taker_of_all(&policy), &entries[2]);
    policy.gpu_rules = &t4; /* a T4 may be left */
    policy.n_gpu_rules = 1;
    assert_null(select_find_taker_of_all(&policy));
}

static void test_format(void **state)
{
    static const struct {
        bool chosen[N_GPUS];
        size_t size;
        const char *text;
    } table[] = {
        {{true, true, false, true, false}, 32, "GPUs 0, 1, 3"},
        {{false, false, false, true, false}, 32, "GPU 3"},
        {{true, true, true, true, true}, 14, "GPUs 0, 1..."},
    };
    struct plan_device on[N_GPUS] = {0};
    struct gpu gpus[N_GPUS] = {0};
    struct plan plan = {.gpus = gpus, .n_gpus = N_GPUS, .devices = on, .n_devices = N_GPUS};

    make_devices(&plan);
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        char buffer[32];

        select_format(&plan, table[i].chosen, buffer, table[i].size);
        assert_int_equal(strncmp(buffer, table[i].text, 9), 0);
        assert_true(strlen(buffer) < table[i].size);
        if (table[i].size > 20)
            assert_string_equal(buffer, table[i].text);
        else
            assert_string_equal(buffer + strlen(buffer) - 3, "...");
    }
}

/* GPU 0 whole; on GPU 1 the devices 1:0 (1g.5gb), 1:1 (2g.10gb) and 1:2 (1g.5gb). */
static struct world world_partitioned(void)
{
    struct world w =
        world_make(machine_make(2, "NVIDIA A100-SXM4-40GB", 40960, GPU_PATH_UNKNOWN), NULL, 0);

    machine_partition(&w.machine, 1, "1g.5gb 2g.10gb 1g.5gb");
    w.policy.mig_strategy = MIG_STRATEGY_MIXED;
    plan_again(&w);
    return w;
}

static void test_mig_references(void **state)
{
    static const struct {
        const char *name;
        struct device_ref ref;
        const char *reached;
        const char *words;
    } table[] = {
        {"nvidia.com/mig-1g.5gb", MIG(1, 0), ".x..", NULL},
        {"nvidia.com/mig-1g.5gb", MIG(1, 2), "...x", NULL},
        {"nvidia.com/mig-1g.5gb", UUID("mig-00000000-0000-0000-0001-000000000002"), "...x", NULL},
        /* drivers before R470 */
        {"nvidia.com/mig-1g.5gb", UUID("MIG-GPU-00000000-0000-0000-0000-000000000001/9/0"), "...x",
         NULL},
        {NAME_GPU, INDEX(0), "x...", NULL},
        {"nvidia.com/mig-1g.5gb", UUID("MIG-GPU-00000000-0000-0000-0000-000000000001/9/1"), "....",
         "is not on this node, which has 4 devices"},
        {"nvidia.com/mig-1g.5gb", MIG(1, 1), "....",
         "is a nvidia.com/mig-2g.10gb, not a nvidia.com/mig-1g.5gb"},
        {"nvidia.com/mig-1g.5gb", MIG(1, 3), "....",
         "MIG device 1:3 in devices is not on this node, which has 4 devices"},
        {"nvidia.com/mig-1g.5gb", MIG(0, 0), "....", "is not on this node"},
        {"nvidia.com/mig-1g.5gb", INDEX(1), "....", "GPU 1 in devices is partitioned"},
        {"nvidia.com/mig-1g.5gb", UUID("GPU-00000000-0000-0000-0000-000000000001"), "....",
         "is partitioned"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct device_ref ref = table[i].ref;
        struct sharing_entry entry =
            listed(entry_all(SHARING_TIME_SLICING, table[i].name, 2), &ref, 1);
        struct world w = world_partitioned();
        bool reached[4];

        problems_deinit(&w.problems);
        select_devices(&entry, w.plan, &w.problems, reached);
        for (size_t d = 0; d < 4; d++)
            assert_int_equal(reached[d], table[i].reached[d] == 'x');
        assert_int_equal(w.problems.n_items, table[i].words != NULL);
        if (table[i].words)
            assert_int_equal(problems_with(&w.problems, PROBLEM_WARNING, table[i].words), 1);
        world_end(&w);
    }
}

static void test_count_of_mig_devices(void **state)
{
    struct sharing_entry entry =
        counted(entry_all(SHARING_TIME_SLICING, "nvidia.com/mig-1g.5gb", 2), 3);
    struct world w = world_partitioned();
    bool reached[4];

    select_devices(&entry, w.plan, &w.problems, reached);
    assert_false(reached[0] || reached[2]);
    assert_true(reached[1] && reached[3]);
    assert_int_equal(problems_with(&w.problems, PROBLEM_WARNING,
                                   "asks for 3 devices, but this node has 2 of "
                                   "nvidia.com/mig-1g.5gb"),
                     1);
    world_end(&w);
}

/* One sentence for each reason. */
static void test_devices_that_are_left_out_alike(void **state)
{
    static struct plan_device devices[] = {{.left_out = "it is lost"},
                                           {.left_out = "it is old"},
                                           {.left_out = "it is lost"},
                                           {.base = "x"}};
    static const struct plan plan = {.devices = devices, .n_devices = 4};
    bool alike[4];

    (void)state;
    assert_ptr_equal(select_left_out_alike(&plan, &devices[2], alike), &devices[0]);
    assert_true(alike[0] && !alike[1] && alike[2] && !alike[3]);
    assert_ptr_equal(select_left_out_alike(&plan, &devices[1], alike), &devices[1]);
    assert_true(!alike[0] && alike[1] && !alike[2] && !alike[3]);
}

static void test_format_of_mig_devices(void **state)
{
    static const struct {
        bool chosen[4];
        const char *text;
    } table[] = {
        {{false, true, false, true}, "MIG devices 1:0, 1:2"},
        {{false, false, true, false}, "MIG device 1:1"},
        {{true, false, true, false}, "devices 0, 1:1"},
        {{true, false, false, false}, "GPU 0"},
    };
    struct world w = world_partitioned();

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        char buffer[64];

        select_format(w.plan, table[i].chosen, buffer, sizeof(buffer));
        assert_string_equal(buffer, table[i].text);
    }
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_and_count),
        cmocka_unit_test(test_one_reference),
        cmocka_unit_test(test_twice_is_noted),
        cmocka_unit_test(test_overlap_without_a_machine),
        cmocka_unit_test(test_who_leaves_no_gpu),
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_mig_references),
        cmocka_unit_test(test_count_of_mig_devices),
        cmocka_unit_test(test_devices_that_are_left_out_alike),
        cmocka_unit_test(test_format_of_mig_devices),
    };

    return cmocka_run_group_tests_name("slice/select", tests, NULL, NULL);
}
