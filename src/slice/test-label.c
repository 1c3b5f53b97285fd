// SPDX-License-Identifier: Apache-2.0
#include "slice/label.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"
#include "slice/name.h"
#include "slice/test-machine.h"

static const char *find_label(const struct plan *plan, const char *key)
{
    for (size_t i = 0; i < plan->n_labels; i++)
        if (str_equal(plan->labels[i].key, key))
            return plan->labels[i].value;
    return NULL;
}

/* key without the domain; value NULL = there is no such label */
static void assert_label(const struct world *w, const char *key, const char *value)
{
    char whole[80];
    const char *found;

    snprintf(whole, sizeof(whole), NAME_DOMAIN "%s", key);
    found = find_label(w->plan, whole);
    if (value && !found)
        fail_msg("no label %s", key);
    if (value)
        assert_string_equal(found, value);
    else
        assert_null(found);
}

static void test_guide_1_whole(void **state)
{
    static const char *const expected = "nvidia.com/cuda.driver-version.full=550.163.01\n"
                                        "nvidia.com/cuda.driver-version.major=550\n"
                                        "nvidia.com/cuda.driver-version.minor=163\n"
                                        "nvidia.com/cuda.driver-version.revision=01\n"
                                        "nvidia.com/cuda.driver.major=550\n"
                                        "nvidia.com/cuda.driver.minor=163\n"
                                        "nvidia.com/cuda.driver.rev=01\n"
                                        "nvidia.com/cuda.runtime-version.full=12.4\n"
                                        "nvidia.com/cuda.runtime-version.major=12\n"
                                        "nvidia.com/cuda.runtime-version.minor=4\n"
                                        "nvidia.com/cuda.runtime.major=12\n"
                                        "nvidia.com/cuda.runtime.minor=4\n"
                                        "nvidia.com/gpu.compute.major=7\n"
                                        "nvidia.com/gpu.compute.minor=0\n"
                                        "nvidia.com/gpu.count=4\n"
                                        "nvidia.com/gpu.family=volta\n"
                                        "nvidia.com/gpu.machine=p3.8xlarge\n"
                                        "nvidia.com/gpu.memory=16384\n"
                                        "nvidia.com/gpu.mode=compute\n"
                                        "nvidia.com/gpu.product=Tesla-V100-SXM2-16GB-SHARED\n"
                                        "nvidia.com/gpu.replicas=4\n"
                                        "nvidia.com/gpu.sharing-strategy=time-slicing\n"
                                        "nvidia.com/mig.capable=false\n"
                                        "nvidia.com/mps.capable=false\n"
                                        "nvidia.com/vgpu.present=false\n";
    struct sharing_entry entry = entry_all(SHARING_TIME_SLICING, NAME_GPU, 4);
    struct world w = world_make(machine_p3_8xlarge(), &entry, 1);
    struct text text = TEXT_INIT;

    for (size_t i = 0; i < w.plan->n_labels; i++)
        text_addf(&text, "%s=%s\n", w.plan->labels[i].key, w.plan->labels[i].value);
    assert_string_equal(text_string(&text), expected);
    text_deinit(&text);
    world_end(&w);
}

static void test_sharing_labels(void **state)
{
    static const struct {
        enum sharing_strategy strategy; /* SHARING_NONE: no entry */
        const char *rename;
        bool mig_parent; /* every GPU, strategy none */
        const char *product, *replicas, *sharing, *mps_capable;
    } table[] = {
        {SHARING_NONE, "", false, "NVIDIA-A100-SXM4-40GB", "1", "none", "false"},
        {SHARING_TIME_SLICING, "", false, "NVIDIA-A100-SXM4-40GB-SHARED", "3", "time-slicing",
         "false"},
        {SHARING_TIME_SLICING, "nvidia.com/gpu.shared", false, "NVIDIA-A100-SXM4-40GB", "3",
         "time-slicing", "false"},
        {SHARING_MPS, "", false, "NVIDIA-A100-SXM4-40GB-SHARED", "3", "mps", "true"},
        {SHARING_TIME_SLICING, "", true, "NVIDIA-A100-SXM4-40GB", "0", "none", "false"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct sharing_entry entry = entry_all(table[i].strategy, NAME_GPU, 3);
        struct world w = world_make(machine_p4d(), &entry, table[i].strategy ? 1 : 0);

        snprintf(entry.rename, sizeof(entry.rename), "%s", table[i].rename);
        for (size_t g = 0; g < 8; g++)
            w.machine.gpus[g].mig_enabled = table[i].mig_parent;
        plan_again(&w);
        assert_label(&w, "gpu.product", table[i].product);
        assert_label(&w, "gpu.replicas", table[i].replicas);
        assert_label(&w, "gpu.sharing-strategy", table[i].sharing);
        assert_label(&w, "mps.capable", table[i].mps_capable);
        assert_label(&w, "mig.capable", "true");
        assert_label(&w, "gpu.count", "8");
        world_end(&w);
    }
}

/* People exclude vGPUs by it, or choose them: it is there with any configuration. */
static void test_vgpu(void **state)
{
    struct world w = world_make(machine_p4d(), NULL, 0);

    (void)state;
    assert_label(&w, "vgpu.present", "false");
    w.machine.gpus[7].is_vgpu = true;
    plan_again(&w);
    assert_label(&w, "vgpu.present", "true");
    strcpy(w.machine.gpus[7].unusable, "it is lost");
    plan_again(&w);
    assert_label(&w, "vgpu.present", "false");
    world_end(&w);
}

static void test_unequal_slices(void **state)
{
    struct slice_size sizes[] = {
        {.name = "nvidia.com/gpu-half", .share_permille = 500, .count = 1},
        {.name = "nvidia.com/gpu-eighth", .share_permille = 125, .count = 4}};
    struct world w = world_make(machine_p3_8xlarge(), NULL, 0);

    w.policy.slices = sizes;
    w.policy.n_slices = 2;
    plan_again(&w);
    assert_label(&w, "gpu.replicas", "5");
    assert_label(&w, "gpu.sharing-strategy", "time-slicing");
    assert_label(&w, "gpu.product", "Tesla-V100-SXM2-16GB");
    world_end(&w);
}

static void test_driver_versions(void **state)
{
    static const struct {
        const char *version, *major, *minor, *revision;
    } table[] = {
        {"550.163.01", "550", "163", "01"},
        {"522.06", "522", "06", ""},
        {"522", NULL, NULL, NULL},
        {"", NULL, NULL, NULL},
        {"1.2.3.4", NULL, NULL, NULL},
        {"1..2", NULL, NULL, NULL},
        {"unknown.unknown", NULL, NULL, NULL},
        {"1.2.", NULL, NULL, NULL},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct world w = world_make(machine_p3_8xlarge(), NULL, 0);

        snprintf(w.machine.driver_version, sizeof(w.machine.driver_version), "%s",
                 table[i].version);
        plan_again(&w);
        assert_label(&w, "cuda.driver-version.full", table[i].major ? table[i].version : NULL);
        assert_label(&w, "cuda.driver-version.major", table[i].major);
        assert_label(&w, "cuda.driver.minor", table[i].minor);
        assert_label(&w, "cuda.driver-version.revision", table[i].revision);
        assert_int_equal(problems_with(&w.problems, PROBLEM_WARNING, "is not of the form"),
                         table[i].major ? 0 : 1);
        assert_label(&w, "gpu.count", "4");
        world_end(&w);
    }
}

static void test_unknown_facts_have_no_label(void **state)
{
    struct world w = world_make(machine_p3_8xlarge(), NULL, 0);

    w.machine.cuda_version = 0;
    w.machine.machine[0] = '\0';
    for (size_t i = 0; i < 4; i++) {
        w.machine.gpus[i].cc_major = 0;
        w.machine.gpus[i].mem_total_bytes = 0;
        w.machine.gpus[i].model[0] = '\0';
    }
    plan_again(&w);
    assert_label(&w, "cuda.runtime.major", NULL);
    assert_label(&w, "gpu.machine", "unknown");
    assert_label(&w, "gpu.family", NULL);
    assert_label(&w, "gpu.compute.major", NULL);
    assert_label(&w, "gpu.memory", NULL);
    assert_label(&w, "gpu.product", "unknown");
    world_end(&w);
}

static void test_mode(void **state)
{
    static const struct {
        uint16_t first, others;
        const char *mode;
    } table[] = {{PCI_CLASS_3D, PCI_CLASS_3D, "compute"},
                 {PCI_CLASS_VGA, PCI_CLASS_VGA, "graphics"},
                 {PCI_CLASS_VGA, PCI_CLASS_3D, "unknown"},
                 {0, 0, "unknown"}};

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct world w = world_make(machine_p3_8xlarge(), NULL, 0);

        for (size_t g = 0; g < 4; g++)
            w.machine.gpus[g].pci_class = g ? table[i].others : table[i].first;
        plan_again(&w);
        assert_label(&w, "gpu.mode", table[i].mode);
        world_end(&w);
    }
}

static void test_clique(void **state)
{
#define CLUSTER "6a2b0c4e-0000-4000-8000-000000000001"
    static const struct {
        bool completed;
        const char *cluster[2];
        unsigned clique[2];
        const char *label;
    } table[] = {
        {true, {CLUSTER, CLUSTER}, {7, 7}, CLUSTER ".7"},
        {true, {CLUSTER, ""}, {7, 9}, CLUSTER ".7"}, /* a GPU outside the fabric does not count */
        {true, {CLUSTER, CLUSTER}, {7, 8}, NULL},
        {true, {CLUSTER, "6a2b"}, {7, 7}, NULL},
        {false, {CLUSTER, CLUSTER}, {7, 7}, NULL},
        {true, {"00000000-0000-0000-0000-000000000000", ""}, {0, 0}, NULL},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct world w = world_make(machine_p4d(), NULL, 0);

        for (size_t g = 0; g < 8; g++) {
            struct gpu *gpu = &w.machine.gpus[g];

            gpu->fabric_completed = table[i].completed;
            snprintf(gpu->fabric_cluster, sizeof(gpu->fabric_cluster), "%s",
                     table[i].cluster[g / 4]);
            gpu->fabric_clique = table[i].clique[g / 4];
        }
        plan_again(&w);
        assert_label(&w, "gpu.clique", table[i].label);
        world_end(&w);
    }
}

static void test_several_models(void **state)
{
    struct world w = world_make(machine_p3_8xlarge(), NULL, 0);

    snprintf(w.machine.gpus[0].model, GPU_NAME_SIZE, "Tesla T4");
    plan_again(&w);
    assert_label(&w, "gpu.product", "Tesla-V100-SXM2-16GB");
    assert_label(&w, "gpu.count", "3");
    assert_int_equal(problems_with(&w.problems, PROBLEM_WARNING, "describe 'Tesla V100"), 1);
    snprintf(w.machine.gpus[1].model, GPU_NAME_SIZE, "NVIDIA A10G");
    plan_again(&w); /* each that no label describes is named, and once */
    assert_int_equal(
        problems_with(&w.problems, PROBLEM_WARNING, "and not 'Tesla T4', 'NVIDIA A10G'"), 1);
    snprintf(w.machine.gpus[1].model, GPU_NAME_SIZE, "Tesla T4");
    plan_again(&w);
    assert_label(&w, "gpu.product", "Tesla-T4"); /* two and two: the lowest index */
    snprintf(w.machine.gpus[2].model, GPU_NAME_SIZE, "NVIDIA DGX Display");
    snprintf(w.machine.gpus[3].unusable, 16, "it is lost");
    plan_again(&w);
    assert_label(&w, "gpu.count", "2");
    assert_int_equal(problems_with(&w.problems, PROBLEM_WARNING, "several GPU models"), 0);
    world_end(&w);
}

/* Nobody can get an excluded GPU by these labels. */
static void test_excluded_gpus_are_not_described(void **state)
{
    struct device_ref refs[] = {{.kind = DEVICE_REF_INDEX, .index = 0},
                                {.kind = DEVICE_REF_INDEX, .index = 1},
                                {.kind = DEVICE_REF_INDEX, .index = 2},
                                {.kind = DEVICE_REF_INDEX, .index = 3}};
    struct world w = world_make(machine_p3_8xlarge(), NULL, 0);

    (void)state;
    for (size_t i = 0; i < 3; i++)
        snprintf(w.machine.gpus[i].model, GPU_NAME_SIZE, "Tesla T4");
    w.machine.gpus[1].is_vgpu = true;
    w.policy.excluded = refs;
    w.policy.n_excluded = 1;
    plan_again(&w);
    assert_label(&w, "gpu.product", "Tesla-T4");
    assert_label(&w, "gpu.count", "2");
    assert_label(&w, "vgpu.present", "true");
    w.policy.n_excluded = 3;
    plan_again(&w);
    assert_label(&w, "gpu.product", "Tesla-V100-SXM2-16GB");
    assert_label(&w, "gpu.count", "1");
    assert_label(&w, "vgpu.present", "false");
    assert_int_equal(problems_with(&w.problems, PROBLEM_WARNING, "several GPU models"), 0);
    w.policy.n_excluded = 4; /* as if none were: the labels say what machine it is */
    plan_again(&w);
    assert_label(&w, "gpu.product", "Tesla-T4");
    assert_label(&w, "gpu.count", "3");
    w.policy.excluded = NULL;
    world_end(&w);
}

static void test_mig(void **state)
{
    struct sharing_entry entry = entry_all(SHARING_MPS, NAME_GPU, 2);
    struct world w = world_make(machine_p4d(), &entry, 1);

    w.machine.gpus[0].mig_enabled = true;
    w.policy.mig_strategy = MIG_STRATEGY_MIXED;
    plan_again(&w);
    assert_label(&w, "mig.strategy", "mixed");
    assert_label(&w, "gpu.count", "8");
    assert_label(&w, "gpu.replicas", "2"); /* of the GPUs that are whole */
    assert_label(&w, "mps.capable", "false");
    assert_int_equal(problems_with(&w.problems, PROBLEM_WARNING, "mps.capable is false"), 1);
    w.policy.mig_strategy = MIG_STRATEGY_NONE;
    plan_again(&w);
    assert_label(&w, "mig.strategy", NULL);
    world_end(&w);
}

/* Every label under the prefix, "count=3 memory=4864 ...", without the hardware's and "+me"'s. */
static void assert_labels_under(const struct world *w, const char *prefix, const char *expected)
{
    static const char *const skipped[] = {"family", "compute.", "machine", "mode", "clique", "me."};
    struct text text = TEXT_INIT;
    char whole[80];

    snprintf(whole, sizeof(whole), NAME_DOMAIN "%s.", prefix);
    for (size_t i = 0; i < w->plan->n_labels; i++) {
        const char *suffix = w->plan->labels[i].key + strlen(whole);
        bool skip = !str_starts_with(w->plan->labels[i].key, whole);

        for (size_t k = 0; k < ARRAY_SIZE(skipped) && !skip; k++)
            skip = str_starts_with(suffix, skipped[k]);
        if (!skip)
            text_addf(&text, "%s%s=%s", text.length ? " " : "", suffix, w->plan->labels[i].value);
    }
    assert_string_equal(text_string(&text), expected);
    text_deinit(&text);
}

#define SHAPE_1G                                                                       \
    "engines.copy=1 engines.decoder=0 engines.encoder=0 engines.jpeg=0 engines.ofa=0 " \
    "memory=4864 multiprocessors=14 "

static void test_mixed_describes_each_profile(void **state)
{
    struct sharing_entry entry = entry_all(SHARING_TIME_SLICING, "nvidia.com/mig-1g.5gb.me", 2);
    struct world w = world_make(machine_p4d(), &entry, 0);

    machine_partition(&w.machine, 2, "3g.20gb 1g.5gb");
    machine_partition(&w.machine, 5, "1g.5gb 1g.5gb+me 1g.5gb");
    w.policy.mig_strategy = MIG_STRATEGY_MIXED;
    w.policy.n_sharing = 1;
    plan_again(&w);
    assert_label(&w, "mig.strategy", "mixed");
    assert_labels_under(&w, "gpu",
                        "count=8 memory=40960 product=NVIDIA-A100-SXM4-40GB replicas=1 "
                        "sharing-strategy=none");
    assert_labels_under(&w, "mig-1g.5gb",
                        "count=3 " SHAPE_1G "product=NVIDIA-A100-SXM4-40GB-MIG-1g.5gb replicas=1 "
                        "sharing-strategy=none slices.ci=1 slices.gi=1");
    assert_labels_under(&w, "mig-1g.5gb.me",
                        "count=1 " SHAPE_1G
                        "product=NVIDIA-A100-SXM4-40GB-MIG-1g.5gb.me-SHARED replicas=2 "
                        "sharing-strategy=time-slicing slices.ci=1 slices.gi=1");
    assert_label(&w, "mig-3g.20gb.multiprocessors", "42");
    assert_label(&w, "mig-3g.20gb.count", "1");
    w.policy.mig_strategy = MIG_STRATEGY_NONE;
    plan_again(&w);
    assert_label(&w, "mig-1g.5gb.count", NULL);
    world_end(&w);
}

static void test_single_describes_mig_devices_as_gpus(void **state)
{
    struct sharing_entry entry = entry_all(SHARING_TIME_SLICING, NAME_GPU, 3);
    struct world w = world_make(machine_make(2, "NVIDIA A30", 24576, GPU_PATH_UNKNOWN), &entry, 1);

    machine_partition(&w.machine, 0, "1g.6gb 1g.6gb");
    machine_partition(&w.machine, 1, "1g.6gb 1g.6gb");
    w.machine.gpus[0].cc_major = w.machine.gpus[1].cc_major = 8;
    w.policy.mig_strategy = MIG_STRATEGY_SINGLE;
    plan_again(&w);
    assert_labels_under(&w, "gpu",
                        "count=4 " SHAPE_1G "product=NVIDIA-A30-MIG-1g.6gb-SHARED replicas=3 "
                        "sharing-strategy=time-slicing slices.ci=1 slices.gi=1");
    assert_label(&w, "gpu.family", "ampere");
    assert_label(&w, "mig-1g.6gb.count", NULL);
    /* an unknown shape has no labels */
    for (size_t i = 0; i < 4; i++)
        w.machine.mig_devices[i].shape.multiprocessors = 0;
    plan_again(&w);
    assert_labels_under(&w, "gpu",
                        "count=4 memory=4864 product=NVIDIA-A30-MIG-1g.6gb-SHARED replicas=3 "
                        "sharing-strategy=time-slicing");
    snprintf(w.machine.mig_devices[3].profile, DEVICE_PROFILE_SIZE, "2g.12gb");
    plan_again(&w); /* the one that differs is left out */
    assert_labels_under(&w, "gpu",
                        "count=3 memory=4864 product=NVIDIA-A30-MIG-1g.6gb-SHARED replicas=3 "
                        "sharing-strategy=time-slicing");
    world_end(&w);
}

/* Those of `single`, and those of `mixed`. */
static void test_two_names_have_two_sets_of_labels(void **state)
{
    struct sharing_entry entry =
        renamed(entry_all(SHARING_TIME_SLICING, NAME_GPU, 3), "nvidia.com/x");
    struct world w = world_make(machine_make(2, "NVIDIA A30", 24576, GPU_PATH_UNKNOWN), &entry, 1);

    machine_partition(&w.machine, 0, "1g.6gb 1g.6gb");
    machine_partition(&w.machine, 1, "1g.6gb 1g.6gb");
    w.policy.mig_strategy = MIG_STRATEGY_SINGLE;
    w.policy.mig_names = MIG_NAMES_BOTH;
    plan_again(&w);
    assert_label(&w, "mig.strategy", "single");
    assert_labels_under(&w, "gpu",
                        "count=4 " SHAPE_1G "product=NVIDIA-A30-MIG-1g.6gb replicas=3 "
                        "sharing-strategy=time-slicing slices.ci=1 slices.gi=1");
    assert_labels_under(&w, "mig-1g.6gb",
                        "count=4 " SHAPE_1G "product=NVIDIA-A30-MIG-1g.6gb-SHARED replicas=3 "
                        "sharing-strategy=time-slicing slices.ci=1 slices.gi=1");
    world_end(&w);
}

/* gpu-feature-discovery's values, by which people notice. */
static void test_single_without_a_device_is_invalid(void **state)
{
    struct world w = world_make(machine_make(2, "NVIDIA A30", 24576, GPU_PATH_UNKNOWN), NULL, 0);

    for (size_t i = 0; i < 2; i++)
        w.machine.gpus[i].mig_capable = w.machine.gpus[i].mig_enabled = true;
    w.policy.mig_strategy = MIG_STRATEGY_SINGLE;
    plan_again(&w);
    assert_labels_under(
        &w, "gpu", "count=0 memory=0 product=NVIDIA-A30-MIG-INVALID replicas=0 sharing-strategy=");
    w.policy.mig_strategy = MIG_STRATEGY_MIXED;
    plan_again(&w);
    assert_labels_under(&w, "gpu",
                        "count=2 memory=24576 product=NVIDIA-A30 replicas=0 sharing-strategy=none");
    world_end(&w);
}

/* Whole GPUs are offered and MIG devices are not, so whole GPUs are described. */
static void test_single_beside_whole_gpus(void **state)
{
    struct world w = world_make(machine_p4d(), NULL, 0);

    machine_partition(&w.machine, 0, "1g.5gb");
    w.policy.mig_strategy = MIG_STRATEGY_SINGLE;
    plan_again(&w);
    assert_labels_under(&w, "gpu",
                        "count=8 memory=40960 product=NVIDIA-A100-SXM4-40GB replicas=1 "
                        "sharing-strategy=none");
    for (size_t i = 1; i < 7; i++) /* and the other way round */
        machine_partition(&w.machine, i, "1g.5gb");
    plan_again(&w);
    assert_labels_under(&w, "gpu",
                        "count=7 " SHAPE_1G "product=NVIDIA-A100-SXM4-40GB-MIG-1g.5gb replicas=1 "
                        "sharing-strategy=none slices.ci=1 slices.gi=1");
    world_end(&w);
}

static void test_nothing_without_a_gpu(void **state)
{
    struct world w = world_make(machine_make(1, "Tesla T4", 15360, GPU_PATH_UNKNOWN), NULL, 0);

    assert_true(w.plan->n_labels > 0);
    snprintf(w.machine.gpus[0].unusable, 16, "it is lost");
    plan_again(&w);
    assert_int_equal(w.plan->n_labels, 0);
    world_end(&w);
}

static void test_values_are_cut_validly(void **state)
{
    static const struct {
        const char *name, *value;
    } table[] = {
        {"Tesla V100-SXM2-16GB", "Tesla-V100-SXM2-16GB"},
        {"NVIDIA  A100 \t 80GB PCIe ", "NVIDIA-A100-80GB-PCIe"},
        {"Standard PC (Q35 + ICH9, 2009)", "Standard-PC-Q35-ICH9-2009"},
        {"p3.8xlarge\n", "p3.8xlarge"},
        {" -._x_.- ", "x"},
        {"()", ""},
        {"", ""},
        {"\xc3\xa4 b", "b"},
        {"a23456789-b23456789-c23456789-d23456789-e23456789-f23456789-g23456789",
         "a23456789-b23456789-c23456789-d23456789-e23456789-f23456789-g23"},
        {"a23456789-b23456789-c23456789-d23456789-e23456789-f23456789-g2-456789",
         "a23456789-b23456789-c23456789-d23456789-e23456789-f23456789-g2"},
        {"a23456789 b23456789 c23456789 d23456789 e23456789 f23456789 g23 56789",
         "a23456789-b23456789-c23456789-d23456789-e23456789-f23456789-g23"},
        {"a23456789 b23456789 c23456789 d23456789 e23456789 f23456789 g2 456789",
         "a23456789-b23456789-c23456789-d23456789-e23456789-f23456789-g2"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        char value[LABEL_VALUE_SIZE];

        label_sanitise(table[i].name, value, sizeof(value));
        assert_string_equal(value, table[i].value);
    }
}

static void test_long_model_keeps_its_suffix(void **state)
{
    struct sharing_entry entry = entry_all(SHARING_TIME_SLICING, NAME_GPU, 2);
    struct world w = world_make(machine_p3_8xlarge(), &entry, 1);

    for (size_t i = 0; i < 4; i++)
        snprintf(w.machine.gpus[i].model, GPU_NAME_SIZE, "%070d", 1);
    plan_again(&w);
    assert_label(&w, "gpu.product",
                 "00000000000000000000000000000000000000000000000000000000-SHARED");
    for (size_t i = 0; i < 4; i++)
        machine_partition(&w.machine, i, "1g.5gb");
    w.policy.mig_strategy = MIG_STRATEGY_SINGLE;
    plan_again(&w);
    assert_label(&w, "gpu.product",
                 "000000000000000000000000000000000000000000000-MIG-1g.5gb-SHARED");
    world_end(&w);
}

static void test_families(void **state)
{
    static const struct {
        unsigned major, minor;
        const char *family;
    } table[] = {
        {1, 3, "tesla"},   {2, 1, "fermi"},      {3, 7, "kepler"},     {4, 0, "undefined"},
        {5, 2, "maxwell"}, {6, 1, "pascal"},     {7, 0, "volta"},      {7, 4, "volta"},
        {7, 5, "turing"},  {8, 0, "ampere"},     {8, 8, "ampere"},     {8, 9, "ada-lovelace"},
        {9, 0, "hopper"},  {10, 3, "blackwell"}, {11, 0, "undefined"}, {12, 0, "blackwell"},
        {13, 0, "rubin"},  {99, 0, "undefined"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++)
        assert_string_equal(label_family(table[i].major, table[i].minor), table[i].family);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guide_1_whole),
        cmocka_unit_test(test_sharing_labels),
        cmocka_unit_test(test_vgpu),
        cmocka_unit_test(test_unequal_slices),
        cmocka_unit_test(test_driver_versions),
        cmocka_unit_test(test_unknown_facts_have_no_label),
        cmocka_unit_test(test_mode),
        cmocka_unit_test(test_clique),
        cmocka_unit_test(test_several_models),
        cmocka_unit_test(test_excluded_gpus_are_not_described),
        cmocka_unit_test(test_mig),
        cmocka_unit_test(test_mixed_describes_each_profile),
        cmocka_unit_test(test_single_describes_mig_devices_as_gpus),
        cmocka_unit_test(test_two_names_have_two_sets_of_labels),
        cmocka_unit_test(test_single_without_a_device_is_invalid),
        cmocka_unit_test(test_single_beside_whole_gpus),
        cmocka_unit_test(test_nothing_without_a_gpu),
        cmocka_unit_test(test_values_are_cut_validly),
        cmocka_unit_test(test_long_model_keeps_its_suffix),
        cmocka_unit_test(test_families),
    };

    return cmocka_run_group_tests_name("slice/label", tests, NULL, NULL);
}
