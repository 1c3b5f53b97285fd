// SPDX-License-Identifier: Apache-2.0
#include "slice/planner.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"
#include "slice/name.h"
#include "slice/share.h"
#include "slice/test-machine.h"

/* The first guide's ConfigMap on its machine. */
static void test_guide_1(void **state)
{
    struct sharing_entry entry = entry_all(SHARING_TIME_SLICING, NAME_GPU, 4);
    struct world w = world_make(machine_p3_8xlarge(), &entry, 1);
    const struct plan_resource *gpu = plan_find_resource(w.plan, "nvidia.com/gpu");
    uint64_t mem_mib[4] = {0};

    assert_resources(&w, "nvidia.com/gpu 16");
    assert_slices_per_device(&w, "4 4 4 4");
    assert_problems(&w, 0, 0, 0);
    assert_int_equal(gpu->sharing, SHARING_TIME_SLICING);
    assert_int_equal(gpu->replicas, 4);
    assert_false(gpu->renamed);
    assert_false(gpu->fail_multi);
    assert_string_equal(gpu->base, "nvidia.com/gpu");
    for (size_t i = 0; i < 16; i++) {
        char id[SLICE_ID_SIZE];

        snprintf(id, sizeof(id), "%s::%zu", machine_uuid(i / 4), i % 4);
        assert_string_equal(gpu->slices[i].id, id);
        assert_int_equal(gpu->slices[i].share_permille, 250);
        mem_mib[i / 4] += gpu->slices[i].mem_bytes / SHARE_MIB;
    }
    /* 16384 MiB less the driver's 233 MiB and 4 KiB; 16150 = 4 x 4037 + 2 */
    for (size_t g = 0; g < 4; g++)
        assert_int_equal(mem_mib[g], 16150);
    assert_int_equal(gpu->slices[1].mem_bytes, 4038 * SHARE_MIB);
    assert_int_equal(gpu->slices[2].mem_bytes, 4037 * SHARE_MIB);
    world_end(&w);
}

static void test_remainder_goes_to_the_lowest(void **state)
{
    struct sharing_entry entry = entry_all(SHARING_MPS, NAME_GPU, 3);
    struct world w = world_make(machine_p3_8xlarge(), &entry, 1);
    const struct slice *slices = w.plan->resources[0].slices;

    assert_int_equal(slices[0].share_permille, 334);
    assert_int_equal(slices[1].share_permille, 333);
    assert_int_equal(slices[2].share_permille, 333);
    assert_int_equal(slices[0].mem_bytes, 5384 * SHARE_MIB);
    assert_int_equal(slices[2].mem_bytes, 5383 * SHARE_MIB);
    world_end(&w);
}

static void test_nothing_asked_gives_whole_gpus(void **state)
{
    struct world w = world_make(machine_p3_8xlarge(), NULL, 0);
    const struct plan_resource *gpu = &w.plan->resources[0];

    assert_resources(&w, "nvidia.com/gpu 4");
    assert_problems(&w, 0, 0, 0);
    assert_int_equal(gpu->sharing, SHARING_NONE);
    assert_int_equal(gpu->replicas, 1);
    assert_string_equal(gpu->slices[3].id, machine_uuid(3));
    assert_int_equal(gpu->slices[3].share_permille, 1000);
    assert_int_equal(gpu->slices[3].mem_bytes, 16150 * SHARE_MIB);
    assert_null(plan_find(gpu, "GPU-no"));
    assert_null(plan_find(gpu, ""));
    world_end(&w);
}

static void test_rename(void **state)
{
    struct sharing_entry entry =
        renamed(entry_all(SHARING_TIME_SLICING, NAME_GPU, 2), "nvidia.com/gpu.shared");
    struct world w = world_make(machine_p3_8xlarge(), &entry, 1);

    assert_resources(&w, "nvidia.com/gpu.shared 8");
    assert_true(w.plan->resources[0].renamed);
    assert_string_equal(w.plan->resources[0].base, "nvidia.com/gpu");
    assert_string_equal(w.plan->resources[0].path, "sharing.timeSlicing.resources[0]");
    assert_int_equal(w.plan->resources[0].at.line, 10);
    world_end(&w);
}

static void test_multi_rule_follows_the_strategy(void **state)
{
    struct sharing_entry entries[] = {entry_all(SHARING_TIME_SLICING, NAME_GPU, 2),
                                      entry_all(SHARING_MPS, NAME_GPU, 2)};
    struct world w = world_make(machine_p3_8xlarge(), &entries[0], 1);

    w.policy.mps_fail_multi = true;
    plan_again(&w);
    assert_false(w.plan->resources[0].fail_multi);
    w.policy.sharing = &entries[1];
    plan_again(&w);
    assert_true(w.plan->resources[0].fail_multi);
    world_end(&w);
}

static void test_count_takes_the_lowest_indices(void **state)
{
    struct sharing_entry entry =
        counted(renamed(entry_all(SHARING_TIME_SLICING, NAME_GPU, 4), "nvidia.com/part"), 2);
    struct world w = world_make(machine_p3_8xlarge(), &entry, 1);

    assert_resources(&w, "nvidia.com/gpu 2, nvidia.com/part 8");
    assert_slices_per_device(&w, "4 4 1 1");
    assert_problems(&w, 0, 0, 0);
    world_end(&w);
}

static void test_list_by_index_and_uuid(void **state)
{
    struct device_ref refs[] = {{.kind = DEVICE_REF_INDEX, .index = 3}, {.kind = DEVICE_REF_UUID}};
    struct sharing_entry entry =
        listed(renamed(entry_all(SHARING_MPS, NAME_GPU, 5), "nvidia.com/fifth"), refs, 2);
    struct world w;

    snprintf(refs[1].uuid, sizeof(refs[1].uuid), "gpu%s", machine_uuid(1) + 3);
    w = world_make(machine_p3_8xlarge(), &entry, 1);
    assert_resources(&w, "nvidia.com/fifth 10, nvidia.com/gpu 2");
    assert_slices_per_device(&w, "1 5 1 5");
    assert_problems(&w, 0, 0, 0);
    world_end(&w);
}

static void test_names_by_model(void **state)
{
    struct resource_rule rules[] = {{.pattern = "*V100*", .name = "nvidia.com/v100"},
                                    {.pattern = "*", .name = "nvidia.com/other"}};
    struct sharing_entry entry = entry_all(SHARING_TIME_SLICING, "nvidia.com/v100", 2);
    struct world w = world_make(machine_p3_8xlarge(), &entry, 1);

    assert_int_equal(problems_with(&w.problems, PROBLEM_WARNING, "is a nvidia.com/v100; the node"),
                     1);
    w.policy.gpu_rules = rules;
    w.policy.n_gpu_rules = 1;
    snprintf(w.machine.gpus[0].model, GPU_NAME_SIZE, "Tesla T4");
    plan_again(&w);
    assert_resources(&w, "nvidia.com/gpu 1, nvidia.com/v100 6");
    assert_int_equal(problems_with(&w.problems, PROBLEM_NOTE, "no pattern matches GPU 0"), 1);
    w.policy.n_gpu_rules = 2;
    plan_again(&w);
    assert_resources(&w, "nvidia.com/other 1, nvidia.com/v100 6");
    world_end(&w);
}

static void test_unequal_slices(void **state)
{
    struct slice_size sizes[] = {
        {.name = "nvidia.com/gpu-half", .share_permille = 500, .count = 1},
        {.name = "nvidia.com/gpu-eighth", .share_permille = 125, .count = 4},
    };
    struct world w = world_make(machine_p3_8xlarge(), NULL, 0);
    const struct plan_resource *half, *eighth;
    uint64_t sum = 0;

    w.policy.slices = sizes;
    w.policy.n_slices = 2;
    plan_again(&w);
    assert_resources(&w, "nvidia.com/gpu-eighth 16, nvidia.com/gpu-half 4");
    assert_slices_per_device(&w, "5 5 5 5");
    assert_problems(&w, 0, 0, 0);
    half = plan_find_resource(w.plan, "nvidia.com/gpu-half");
    eighth = plan_find_resource(w.plan, "nvidia.com/gpu-eighth");
    assert_int_equal(half->sharing, SHARING_TIME_SLICING);
    assert_int_equal(eighth->replicas, 4);
    assert_int_equal(half->slices[0].mem_bytes, 8075 * SHARE_MIB + SHARE_MIB);
    assert_int_equal(eighth->slices[0].n, 1);
    assert_true(str_ends_with(eighth->slices[3].id, "::4"));
    sum = half->slices[0].mem_bytes;
    for (size_t i = 0; i < 4; i++)
        sum += eighth->slices[i].mem_bytes;
    assert_int_equal(sum, 16150 * SHARE_MIB);
    w.policy.isolation = ISOLATION_COOPERATIVE;
    w.policy.slices[0].served = w.policy.slices[1].served = true;
    plan_again(&w);
    assert_int_equal(w.plan->resources[0].sharing, SHARING_MPS);
    w.policy.slices[1].served = false; /* half a GPU's slices would be no use */
    plan_again(&w);
    assert_resources(&w, "");
    assert_string_equal(w.plan->waits_for_mps, w.policy.slices[1].name);
    world_end(&w);
}

/* Without a control daemon MPS slices are not offered, and what else there is stays. */
static void test_mps_waits_for_its_daemon(void **state)
{
    struct sharing_entry entries[] = {
        renamed(counted(entry_all(SHARING_MPS, NAME_GPU, 3), 1), "nvidia.com/gpu.a"),
        counted(entry_all(SHARING_MPS, NAME_GPU, 3), 3),
        entry_all(SHARING_TIME_SLICING, NAME_GPU, 4),
    };
    struct world w = world_make(machine_p3_8xlarge(), entries, 3);

    assert_resources(&w, "nvidia.com/gpu 10, nvidia.com/gpu.a 3");
    assert_string_equal(w.plan->waits_for_mps, "");
    entries[1].served = false;
    plan_again(&w);
    assert_resources(&w, "nvidia.com/gpu 4, nvidia.com/gpu.a 3");
    assert_slices_per_device(&w, "3 0 0 4");
    assert_string_equal(w.plan->waits_for_mps, NAME_GPU);
    assert_int_equal(problems_with(&w.problems, PROBLEM_WARNING,
                                   "GPUs 1, 2 not offered: no MPS control daemon answers for "
                                   "nvidia.com/gpu"),
                     1);
    entries[1].replicas = 1; /* not shared: no daemon is needed */
    plan_again(&w);
    assert_resources(&w, "nvidia.com/gpu 6, nvidia.com/gpu.a 3");
    entries[0].served = false;
    plan_again(&w);
    assert_resources(&w, "nvidia.com/gpu 6");
    assert_string_equal(w.plan->waits_for_mps, "nvidia.com/gpu.a");
    world_end(&w);
}

static void test_unequal_slices_that_do_not_fit(void **state)
{
    static const struct {
        struct slice_size sizes[2];
        const char *slices_per_gpu;
        size_t notes, errors;
    } table[] = {
        /* 75 %: a quarter stays unused */
        {{{.name = "nvidia.com/gpu-a", .share_permille = 250, .count = 3}}, "3 3", 1, 0},
        /* 150 %: the first ones fit */
        {{{.name = "nvidia.com/gpu-a", .share_permille = 500, .count = 1},
          {.name = "nvidia.com/gpu-b", .share_permille = 250, .count = 4}},
         "3 3",
         0,
         2},
        /* 2 x 9 GiB on 16 GiB */
        {{{.name = "nvidia.com/gpu-a",
           .share_permille = 500,
           .mem_bytes = 9216 * SHARE_MIB,
           .count = 2}},
         "1 1",
         0,
         2},
        /* by share beside a memory of its own that leaves too little */
        {{{.name = "nvidia.com/gpu-a", .share_permille = 500, .count = 1},
          {.name = "nvidia.com/gpu-b",
           .share_permille = 500,
           .mem_bytes = 9216 * SHARE_MIB,
           .count = 1}},
         "1 1",
         0,
         2},
        /* nothing fits: the GPUs are left out */
        {{{.name = "nvidia.com/gpu-a",
           .share_permille = 10,
           .mem_bytes = 99999 * SHARE_MIB,
           .count = 1}},
         "0 0",
         0,
         4},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct slice_size sizes[2];
        struct world w =
            world_make(machine_make(2, "Tesla V100-SXM2-16GB", 16384, GPU_PATH_UNKNOWN), NULL, 0);

        memcpy(sizes, table[i].sizes, sizeof(sizes));
        w.policy.slices = sizes;
        w.policy.n_slices = sizes[1].count ? 2 : 1;
        plan_again(&w);
        assert_slices_per_device(&w, table[i].slices_per_gpu);
        assert_int_equal(problems_count(&w.problems, PROBLEM_NOTE), table[i].notes);
        assert_int_equal(problems_count(&w.problems, PROBLEM_ERROR), table[i].errors);
        world_end(&w);
    }
}

/* Only when asked for, and with a warning. */
static void test_memory_that_is_overcommitted(void **state)
{
    struct slice_size size = {.name = "nvidia.com/gpu-a",
                              .share_permille = 250,
                              .mem_bytes = 9216 * SHARE_MIB,
                              .count = 4};
    struct world w =
        world_make(machine_make(1, "Tesla V100-SXM2-16GB", 16384, GPU_PATH_UNKNOWN), NULL, 0);

    w.policy.slices = &size;
    w.policy.n_slices = 1;
    w.policy.overcommits = true;
    plan_again(&w);
    assert_slices_per_device(&w, "4");
    assert_int_equal(w.plan->resources[0].slices[3].mem_bytes, 9216 * SHARE_MIB);
    assert_problems(&w, 0, 1, 0);
    assert_int_equal(problems_with(&w.problems, PROBLEM_WARNING, "GPU 0 add up to 36864 MiB"), 1);
    size.mem_bytes = 1024 * SHARE_MIB; /* and it is not */
    plan_again(&w);
    assert_problems(&w, 0, 0, 0);
    world_end(&w);
}

static void test_unequal_slices_beside_sharing(void **state)
{
    struct slice_size size = {.name = "nvidia.com/gpu-half", .share_permille = 500, .count = 2};
    struct sharing_entry entry = counted(entry_all(SHARING_TIME_SLICING, NAME_GPU, 4), 3);
    struct world w = world_make(machine_p3_8xlarge(), &entry, 1);

    w.policy.slices = &size;
    w.policy.n_slices = 1;
    plan_again(&w);
    assert_resources(&w, "nvidia.com/gpu 12, nvidia.com/gpu-half 2");
    assert_problems(&w, 0, 0, 0);
    entry.devices.count = 4;
    plan_again(&w);
    assert_resources(&w, "nvidia.com/gpu 16");
    assert_int_equal(problems_with(&w.problems, PROBLEM_WARNING, "no such slice is offered"), 1);
    entry.devices.kind = DEVICES_ALL; /* no machine needed to see it: config/ reports it */
    plan_again(&w);
    assert_resources(&w, "nvidia.com/gpu 16");
    assert_problems(&w, 0, 0, 0);
    world_end(&w);
}

static void test_no_gpu_is_quiet(void **state)
{
    struct sharing_entry entry = counted(entry_all(SHARING_MPS, "nvidia.com/a100", 4), 9);
    struct slice_size size = {.name = "nvidia.com/gpu-half", .share_permille = 500, .count = 1};
    struct world w = {.machine = INVENTORY_INIT, .problems = PROBLEMS_INIT};

    w.policy = (struct policy){.sharing = &entry, .n_sharing = 1, .slices = &size, .n_slices = 1};
    plan_again(&w);
    assert_int_equal(w.plan->n_resources, 0);
    assert_int_equal(w.plan->n_gpus, 0);
    assert_int_equal(w.plan->n_labels, 0);
    assert_problems(&w, 0, 0, 0);
    world_end(&w);
}

/* Each fault takes GPU 1 out of the plan, with a reason, and leaves the others alone. */
static void test_gpus_left_out(void **state)
{
    static const struct {
        struct gpu gpu; /* what differs on GPU 1 */
        enum mig_strategy mig_strategy;
        const char *words;
    } table[] = {
        {{.unusable = "it has fallen off the bus"}, MIG_STRATEGY_NONE, "fallen off the bus"},
        {{.model = "DGX Display"}, MIG_STRATEGY_NONE, "display card"},
        {{.model = "NVIDIA DGX Display"}, MIG_STRATEGY_NONE, "display card"},
        {{.uuid = "-"}, MIG_STRATEGY_NONE, "gives no UUID"},
        {{.uuid = "GPU-00000000-0000-0000-0000-000000000000"},
         MIG_STRATEGY_NONE,
         "UUID of another GPU"},
        {{.mig_enabled = true}, MIG_STRATEGY_SINGLE, "MIG is enabled"},
        {{.mig_enabled = true}, MIG_STRATEGY_MIXED, "MIG is enabled"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct sharing_entry entry = entry_all(SHARING_TIME_SLICING, NAME_GPU, 2);
        struct world w = world_make(machine_p3_8xlarge(), &entry, 1);
        struct gpu *gpu = &w.machine.gpus[1];
        const struct gpu *fault = &table[i].gpu;

        memcpy(gpu->unusable, fault->unusable, sizeof(gpu->unusable));
        if (*fault->model)
            memcpy(gpu->model, fault->model, sizeof(gpu->model));
        if (*fault->uuid)
            memcpy(gpu->uuid, *fault->uuid == '-' ? "\0" : fault->uuid,
                   *fault->uuid == '-' ? 1 : 48);
        gpu->mig_enabled = fault->mig_enabled;
        w.policy.mig_strategy = table[i].mig_strategy;
        w.policy.mig_strategy_at = (struct position){3, 16};
        plan_again(&w);
        assert_slices_per_device(&w, "2 0 2 2");
        assert_non_null(strstr(w.plan->devices[1].left_out, table[i].words));
        assert_int_equal(w.problems.n_items, 1);
        assert_non_null(strstr(w.problems.items[0].text, table[i].words));
        assert_int_equal(w.problems.items[0].at.line, fault->mig_enabled ? 3 : 0);
        world_end(&w);
    }
}

static void test_mig_strategies_without_mig_gpus(void **state)
{
    static const enum mig_strategy strategies[] = {MIG_STRATEGY_SINGLE, MIG_STRATEGY_MIXED};

    for (size_t i = 0; i < ARRAY_SIZE(strategies); i++) {
        struct world w = world_make(machine_p4d(), NULL, 0);

        w.policy.mig_strategy = strategies[i];
        plan_again(&w);
        assert_resources(&w, "nvidia.com/gpu 8");
        assert_problems(&w, 0, 0, 0);
        world_end(&w);
    }
}

/* The id of the last slice of a resource. */
static const char *last_id(const struct plan_resource *resource)
{
    return resource->slices[resource->n_slices - 1].id;
}

/* A slice per MiB, which NVIDIA's plugin serves on this GPU although its driver keeps some MiB. */
static void test_more_replicas_than_mib(void **state)
{
    struct sharing_entry entry = entry_all(SHARING_TIME_SLICING, NAME_GPU, 16384);
    struct world w = world_make(machine_p3_8xlarge(), &entry, 1);

    assert_slices_per_device(&w, "16384 16384 16384 16384");
    assert_string_equal(last_id(&w.plan->resources[0]),
                        "GPU-00000000-0000-0000-0000-000000000003::16383");
    assert_int_equal(
        w.plan->resources[0].slices[0].mem_bytes,
        share_equal(share_memory_mib(&w.plan->devices[0].device) * SHARE_MIB, 16384, 0));
    assert_int_equal(problems_count(&w.problems, PROBLEM_ERROR), 0);
    assert_int_equal(problems_with(&w.problems, PROBLEM_WARNING, "has less than 1 MiB"), 1);
    w.machine.gpus[0].mem_total_bytes = 0;
    entry.replicas = 8;
    plan_again(&w);
    assert_int_equal(w.plan->resources[0].slices[0].mem_bytes, 0);
    world_end(&w);
}

/* What is offered fits, and one slice more of each GPU would not. */
static void assert_fullest_list(const struct world *w, const struct plan_resource *resource)
{
    unsigned n = (unsigned)(resource->n_slices / w->plan->n_gpus);
    size_t now = 0, next = 0;

    for (size_t i = 0; i < w->plan->n_gpus; i++) {
        now += listsize_of_slices(&w->plan->devices[i].device, n);
        next += listsize_of_slices(&w->plan->devices[i].device, n + 1);
    }
    assert_true(now <= LISTSIZE_MAX_BYTES);
    assert_true(next > LISTSIZE_MAX_BYTES);
    assert_int_equal(resource->replicas, n);
}

static void test_a_list_that_the_kubelet_cannot_read_is_cut(void **state)
{
    static const struct {
        size_t n_gpus;
        unsigned replicas;
        int numa_node;
        bool cut;
    } table[] = {
        {1, 16384, -1, false}, {1, 60000, 1, false}, {1, 65535, 1, true},   {4, 16384, -1, false},
        {4, 16384, 0, true},   {16, 4096, 1, true},  {16, 4096, -1, false}, {16, 4400, -1, true},
        {16, 3900, 1, false},  {8, 65535, 0, true},  {1, 100000, -1, true},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct sharing_entry entry = entry_all(SHARING_TIME_SLICING, NAME_GPU, table[i].replicas);
        struct inventory machine =
            machine_make(table[i].n_gpus, "NVIDIA B200", 183359, GPU_PATH_UNKNOWN);
        char words[64];
        struct world w;

        for (size_t g = 0; g < table[i].n_gpus; g++)
            machine.gpus[g].numa_node = table[i].numa_node;
        w = world_make(machine, &entry, 1);
        if (table[i].cut)
            assert_fullest_list(&w, &w.plan->resources[0]);
        else
            assert_int_equal(w.plan->resources[0].replicas, table[i].replicas);
        snprintf(words, sizeof(words), "this node offers %zu, %u of each GPU",
                 w.plan->resources[0].n_slices, w.plan->resources[0].replicas);
        assert_int_equal(problems_count(&w.problems, PROBLEM_ERROR), table[i].cut);
        assert_int_equal(problems_with(&w.problems, PROBLEM_ERROR, words), table[i].cut);
        world_end(&w);
    }
}

/* Two entries, and GPUs that are not shared, under one name: one list, one limit, one sentence
 * each.
 */
static void test_the_list_of_a_name_counts_whole(void **state)
{
    struct sharing_entry entries[] = {
        renamed(counted(entry_all(SHARING_TIME_SLICING, NAME_GPU, 40000), 1), "nvidia.com/s"),
        renamed(entry_all(SHARING_TIME_SLICING, NAME_GPU, 30000), "nvidia.com/s"),
    };
    struct world w = world_make(machine_p3_8xlarge(), entries, 2);

    assert_int_equal(w.plan->n_resources, 1);
    assert_true(w.plan->resources[0].n_slices > 60000);
    assert_int_equal(problems_with(&w.problems, PROBLEM_ERROR, "reads no device list"), 2);
    world_end(&w);
}

static void test_unequal_slices_keep_to_the_list(void **state)
{
    struct slice_size size = {.name = "nvidia.com/gpu-tiny", .share_permille = 1, .count = 1000};
    struct world w = world_make(machine_make(8, "NVIDIA B200", 183359, GPU_PATH_UNKNOWN), NULL, 0);

    w.policy.slices = &size;
    w.policy.n_slices = 1;
    plan_again(&w);
    assert_resources(&w, "nvidia.com/gpu-tiny 8000");
    assert_int_equal(problems_count(&w.problems, PROBLEM_ERROR), 0);
    world_end(&w);
}

/* ---- gpuslice.excludeDevices ---- */

static void test_excluded_gpus_are_left_out(void **state)
{
    struct device_ref refs[] = {
        {.kind = DEVICE_REF_INDEX, .index = 0},
        {.kind = DEVICE_REF_UUID, .uuid = "gpu-00000000-0000-0000-0000-000000000002"},
        {.kind = DEVICE_REF_PCI, .uuid = "0000:00:1e.0"},
        {.kind = DEVICE_REF_UUID, .uuid = "GPU-ffffffff-0000-0000-0000-000000000000"},
        {.kind = DEVICE_REF_INDEX, .index = 9},
    };
    struct sharing_entry entry = counted(entry_all(SHARING_TIME_SLICING, NAME_GPU, 4), 2);
    struct world w = world_make(machine_p3_8xlarge(), &entry, 1);

    strcpy(w.machine.gpus[3].pci_address, "0000:00:1e.0");
    strcpy(w.machine.gpus[0].unusable, "it is lost"); /* who excludes it needs no warning */
    w.policy.excluded = refs;
    w.policy.n_excluded = 1;
    plan_again(&w);
    assert_slices_per_device(&w, "0 4 4 1"); /* a count is of those that are left */
    assert_true(w.plan->devices[0].excluded);
    assert_int_equal(problems_with(&w.problems, PROBLEM_WARNING, "it is lost"), 0);
    w.policy.n_excluded = 3;
    plan_again(&w);
    assert_slices_per_device(&w, "0 4 0 0");
    assert_string_equal(w.plan->devices[3].left_out, "gpuslice.excludeDevices excludes it");
    w.policy.n_excluded = 5; /* a UUID of another node is no news */
    plan_again(&w);
    assert_slices_per_device(&w, "0 4 0 0");
    assert_int_equal(problems_with(&w.problems, PROBLEM_NOTE, "GPU 9 is not on this node"), 1);
    assert_int_equal(problems_with(&w.problems, PROBLEM_NOTE, "ffffffff"), 0);
    w.policy.excluded = NULL;
    world_end(&w);
}

static void test_an_excluded_gpu_takes_its_mig_devices_along(void **state)
{
    struct device_ref refs[] = {{.kind = DEVICE_REF_INDEX, .index = 0},
                                {.kind = DEVICE_REF_MIG_INDEX, .index = 1, .mig_index = 0}};
    struct world w = world_make(machine_p4d(), NULL, 0);

    machine_partition(&w.machine, 0, "1g.5gb 1g.5gb");
    machine_partition(&w.machine, 1, "1g.5gb 1g.5gb");
    w.policy.mig_strategy = MIG_STRATEGY_MIXED;
    w.policy.excluded = refs;
    w.policy.n_excluded = 2;
    plan_again(&w);
    assert_resources(&w, "nvidia.com/gpu 6, nvidia.com/mig-1g.5gb 1");
    w.policy.excluded = NULL;
    world_end(&w);
}

/* ---- replicas: 1 ---- */

static void test_one_replica_is_the_whole_device(void **state)
{
    static const enum sharing_strategy strategies[] = {SHARING_TIME_SLICING, SHARING_MPS};

    for (size_t i = 0; i < ARRAY_SIZE(strategies); i++) {
        struct sharing_entry entry = entry_all(strategies[i], NAME_GPU, 1);
        struct world w = world_make(machine_p3_8xlarge(), &entry, 1);
        const struct plan_resource *resource = &w.plan->resources[0];

        w.policy.time_slicing_fail_multi = w.policy.mps_fail_multi = true;
        plan_again(&w);
        resource = &w.plan->resources[0];
        assert_resources(&w, "nvidia.com/gpu 4");
        assert_string_equal(resource->slices[2].id, machine_uuid(2));
        assert_int_equal(resource->sharing, SHARING_NONE);
        assert_false(resource->fail_multi);
        assert_problems(&w, 0, 0, 0);
        world_end(&w);
    }
}

static void test_one_gpu_has_a_resource_of_its_own(void **state)
{
    struct device_ref ref = {.kind = DEVICE_REF_UUID};
    struct sharing_entry entries[2];
    struct world w;

    snprintf(ref.uuid, sizeof(ref.uuid), "%s", machine_uuid(2));
    entries[0] = renamed(listed(entry_all(SHARING_TIME_SLICING, NAME_GPU, 1), &ref, 1),
                         "nvidia.com/gpu-render");
    entries[1] = entry_all(SHARING_TIME_SLICING, NAME_GPU, 4);
    w = world_make(machine_p3_8xlarge(), entries, 2);
    assert_resources(&w, "nvidia.com/gpu 12, nvidia.com/gpu-render 1");
    assert_slices_per_device(&w, "4 4 1 4");
    assert_string_equal(plan_find_resource(w.plan, "nvidia.com/gpu-render")->slices[0].id,
                        machine_uuid(2));
    assert_problems(&w, 0, 0, 0);
    world_end(&w);
}

/* A plan, written down whole. */
static char *dump(const struct plan *plan)
{
    struct text text = TEXT_INIT;

    for (size_t r = 0; r < plan->n_resources; r++) {
        const struct plan_resource *resource = &plan->resources[r];

        text_addf(&text, "%s %s %d %u %d %d\n", resource->name, resource->base, resource->sharing,
                  resource->replicas, resource->renamed, resource->fail_multi);
        for (size_t i = 0; i < resource->n_slices; i++)
            text_addf(&text, " %s %zu %u %u %ju %zu\n", resource->slices[i].id,
                      resource->slices[i].device, resource->slices[i].n,
                      resource->slices[i].share_permille, (uintmax_t)resource->slices[i].mem_bytes,
                      resource->by_id[i]);
    }
    for (size_t i = 0; i < plan->n_gpus; i++)
        text_addf(&text, "%u %s\n", plan->gpus[i].index, plan->gpus[i].uuid);
    for (size_t i = 0; i < plan->n_devices; i++) {
        const struct plan_device *on = &plan->devices[i];

        text_addf(&text, "%u:%u %s %s %s %zu\n", plan_gpu(plan, on)->index, on->device.mig_index,
                  on->device.uuid, on->left_out, on->base, on->n_slices);
    }
    for (size_t i = 0; i < plan->n_labels; i++)
        text_addf(&text, "%s=%s\n", plan->labels[i].key, plan->labels[i].value);
    return text_take(&text);
}

static void test_same_in_same_out(void **state)
{
    struct sharing_entry entries[] = {counted(entry_all(SHARING_TIME_SLICING, NAME_GPU, 7), 5),
                                      counted(entry_all(SHARING_MPS, NAME_GPU, 3), 2)};
    struct world w = world_make(machine_p3_16xlarge(), entries, 2);
    char *first = dump(w.plan), *again, *permuted;

    snprintf(w.machine.gpus[6].unusable, 20, "lost");
    plan_again(&w);
    free(first);
    first = dump(w.plan);
    plan_again(&w);
    again = dump(w.plan);
    for (size_t i = 0; i < 4; i++) {
        struct gpu gpu = w.machine.gpus[i];

        w.machine.gpus[i] = w.machine.gpus[7 - i];
        w.machine.gpus[7 - i] = gpu;
    }
    plan_again(&w);
    permuted = dump(w.plan);
    assert_string_equal(first, again);
    assert_string_equal(first, permuted);
    free(first);
    free(again);
    free(permuted);
    world_end(&w);
}

/* MIG devices follow their GPU wherever it stands in the inventory. */
static void test_order_of_mig_devices(void **state)
{
    struct world w = world_make(machine_p4d(), NULL, 0);
    struct gpu gpu;
    char *first, *permuted;

    machine_partition(&w.machine, 0, "3g.20gb 1g.5gb");
    machine_partition(&w.machine, 1, "1g.5gb");
    gpu = w.machine.gpus[0];
    w.policy.mig_strategy = MIG_STRATEGY_MIXED;
    plan_again(&w);
    first = dump(w.plan);
    w.machine.gpus[0] = w.machine.gpus[7];
    w.machine.gpus[7] = gpu;
    for (size_t i = 0; i < w.machine.n_mig_devices; i++)
        if (w.machine.mig_devices[i].gpu == 0)
            w.machine.mig_devices[i].gpu = 7;
    plan_again(&w);
    permuted = dump(w.plan);
    assert_string_equal(first, permuted);
    free(first);
    free(permuted);
    world_end(&w);
}

static void test_many_slices_are_quick(void **state)
{
    struct sharing_entry entry = entry_all(SHARING_TIME_SLICING, NAME_GPU, 48);
    struct world w = world_make(machine_p3_16xlarge(), &entry, 1);
    clock_t start = clock();

    for (int i = 0; i < 100; i++)
        plan_again(&w);
    /* About 0.06 ms each with -O2; 20 ms leave room for sanitizers and emulators. */
    assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 2.0);
    assert_int_equal(w.plan->resources[0].n_slices, 384);
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guide_1),
        cmocka_unit_test(test_remainder_goes_to_the_lowest),
        cmocka_unit_test(test_nothing_asked_gives_whole_gpus),
        cmocka_unit_test(test_rename),
        cmocka_unit_test(test_multi_rule_follows_the_strategy),
        cmocka_unit_test(test_count_takes_the_lowest_indices),
        cmocka_unit_test(test_list_by_index_and_uuid),
        cmocka_unit_test(test_names_by_model),
        cmocka_unit_test(test_unequal_slices),
        cmocka_unit_test(test_unequal_slices_that_do_not_fit),
        cmocka_unit_test(test_memory_that_is_overcommitted),
        cmocka_unit_test(test_unequal_slices_beside_sharing),
        cmocka_unit_test(test_no_gpu_is_quiet),
        cmocka_unit_test(test_gpus_left_out),
        cmocka_unit_test(test_mig_strategies_without_mig_gpus),
        cmocka_unit_test(test_mps_waits_for_its_daemon),
        cmocka_unit_test(test_more_replicas_than_mib),
        cmocka_unit_test(test_a_list_that_the_kubelet_cannot_read_is_cut),
        cmocka_unit_test(test_the_list_of_a_name_counts_whole),
        cmocka_unit_test(test_unequal_slices_keep_to_the_list),
        cmocka_unit_test(test_one_replica_is_the_whole_device),
        cmocka_unit_test(test_excluded_gpus_are_left_out),
        cmocka_unit_test(test_an_excluded_gpu_takes_its_mig_devices_along),
        cmocka_unit_test(test_one_gpu_has_a_resource_of_its_own),
        cmocka_unit_test(test_same_in_same_out),
        cmocka_unit_test(test_order_of_mig_devices),
        cmocka_unit_test(test_many_slices_are_quick),
    };

    return cmocka_run_group_tests_name("slice/planner", tests, NULL, NULL);
}
