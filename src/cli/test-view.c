// SPDX-License-Identifier: Apache-2.0
#include "cli/view.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { MIB = 1 << 20 };

/* Two GPUs: one in thirds, so that remainders show; one that is ignored. */
static const struct migpreview no_preview = MIGPREVIEW_INIT;
static struct slice slices[] = {
    {"GPU-aaaa-1::0", 0, 0, 334, 5334ull * MIB},
    {"GPU-aaaa-1::1", 0, 1, 333, 5333ull * MIB},
    {"GPU-aaaa-1::2", 0, 2, 333, 5333ull * MIB},
};
static struct plan_resource resource = {
    .name = "nvidia.com/gpu",
    .sharing = SHARING_TIME_SLICING,
    .fail_multi = true,
    .slices = slices,
    .n_slices = 3,
};
static struct gpu gpus[] = {
    {.index = 0,
     .uuid = "GPU-aaaa-1",
     .model = "Tesla\xe2\x84\xa2 V100",
     .mem_total_bytes = 16384ull * MIB},
    {.index = 1, .uuid = "", .gaps = {[FACT_MODEL] = FACT_FAILED, [FACT_MEMORY] = FACT_FAILED}},
};
static struct plan_device devices[] = {
    {.device = {.uuid = "GPU-aaaa-1", .gpu = 0, .mem_total_bytes = 16384ull * MIB},
     .sharing = SHARING_TIME_SLICING,
     .n_slices = 3},
    {.device = {.uuid = "", .gpu = 1}, .left_out = "the driver lost it"},
};
static struct plan_label label = {(char *)"nvidia.com/gpu.count", (char *)"2"};
static const struct plan plan = {
    .resources = &resource,
    .n_resources = 1,
    .gpus = gpus,
    .n_gpus = 2,
    .devices = devices,
    .n_devices = 2,
    .labels = &label,
    .n_labels = 1,
};
static const struct target target = {
    .title = "desk",
    .inventory = {.driver_version = "550.163.01", .cuda_version = 12040, .n_gpus = 2}};

/* What the configuration itself sets. */
static struct extra_label extra = {.key = (char *)"example.com/rack", .value = (char *)"7"};
static struct extra_taint taint = {.key = (char *)"nvidia.com/gpu", .effect = (char *)"NoSchedule"};
static const struct config config = {
    .labels = &extra, .n_labels = 1, .taints = &taint, .n_taints = 1};
static const struct config no_extras = {.n_labels = 0};

static void print_to(char *buffer, size_t size, bool with_labels)
{
    FILE *out = fmemopen(buffer, size, "w");

    assert_non_null(out);
    view_tables(&plan, &target, with_labels ? &config : NULL, &no_preview, out);
    fclose(out);
}

static void test_tables(void **state)
{
    char text[4096];

    print_to(text, sizeof(text), false);
    assert_string_equal(
        text,
        "desk: 2 GPUs, driver 550.163.01, CUDA 12.4\n"
        "\n"
        "GPU  MODEL        UUID         MEMORY  SLICES                   SHARE*        MEMORY*\n"
        "  0  Tesla\xe2\x84\xa2 V100  GPU-aaaa  16384 MiB  3 x nvidia.com/gpu  33.3-33.4 %  "
        "5333-5334 MiB\n"
        "  1  unknown                  unknown  left out\n"
        "* advisory, but for memory limits, and turns (gpuslice.compute), where gpuslice-arbiter "
        "serves them\n"
        "\n"
        "RESOURCE        DEVICES  SHARING       PER CONTAINER\n"
        "nvidia.com/gpu        3  time slicing  one\n"
        "\n"
        "LEFT OUT\n"
        "GPU 1: the driver lost it\n");
    print_to(text, sizeof(text), true);
    assert_non_null(strstr(text, "nvidia.com/gpu.count  2\n"));
    assert_non_null(strstr(text, "example.com/rack      7\n"));
    assert_non_null(strstr(text, "nvidia.com/gpu         NoSchedule\n"));
}

static void test_tree(void **state)
{
    cleanup(json_decrefp) json_t *tree = view_tree(&plan, &target, &config, &no_preview);
    cleanup(json_decrefp) json_t *wanted = json_loads(
        "{\"machine\": \"desk\", \"driver\": {\"version\": \"550.163.01\","
        "  \"cuda\": \"12.4\"}, \"sharing\": {\"nvidia.com/gpu\": {\"sharing\": \"time slicing\","
        "  \"per_container\": \"one\", \"advisory\": true}},"
        " \"resources\": {\"nvidia.com/gpu\": 3}, \"labels\": {\"nvidia.com/gpu.count\": \"2\","
        " \"example.com/rack\": \"7\"}, \"taints\": [{\"key\": \"nvidia.com/gpu\", \"value\": \"\","
        " \"effect\": \"NoSchedule\"}],"
        " \"gpus\": [{\"index\": 0, \"uuid\": \"GPU-aaaa-1\", \"model\": \"Tesla\xe2\x84\xa2 "
        "V100\","
        "  \"memory_bytes\": 17179869184, \"left_out\": null, \"slices\": ["
        "  {\"id\": \"GPU-aaaa-1::0\", \"resource\": \"nvidia.com/gpu\", \"share_permille\": 334,"
        "   \"memory_bytes\": 5593104384, \"advisory\": true},"
        "  {\"id\": \"GPU-aaaa-1::1\", \"resource\": \"nvidia.com/gpu\", \"share_permille\": 333,"
        "   \"memory_bytes\": 5592055808, \"advisory\": true},"
        "  {\"id\": \"GPU-aaaa-1::2\", \"resource\": \"nvidia.com/gpu\", \"share_permille\": 333,"
        "   \"memory_bytes\": 5592055808, \"advisory\": true}]},"
        " {\"index\": 1, \"uuid\": null, \"model\": null, \"memory_bytes\": null,"
        "  \"unknown\": [\"model\", \"memory\"],"
        "  \"left_out\": \"the driver lost it\", \"slices\": []}]}",
        0, NULL);

    assert_non_null(wanted);
    assert_true(json_equal(tree, wanted));
}

/* GPU 0 whole; of GPU 1 one MIG device is offered, and one is left out. */
static struct slice mig_slices[] = {
    {"GPU-aaaa-1", 0, 0, 1000, 40960ull * MIB},
    {"MIG-bbbb-1", 1, 0, 1000, 4864ull * MIB},
};
static struct plan_resource mig_resources[] = {
    {.name = "nvidia.com/gpu", .slices = &mig_slices[0], .n_slices = 1},
    {.name = "nvidia.com/mig-1g.5gb", .slices = &mig_slices[1], .n_slices = 1},
};
static struct gpu mig_gpus[] = {
    {.index = 0, .uuid = "GPU-aaaa-1", .model = "A100", .mem_total_bytes = 40960ull * MIB},
    {.index = 1, .uuid = "GPU-bbbb-1", .model = "A100", .mem_total_bytes = 40960ull * MIB},
};
static struct plan_device mig_devices[] = {
    {.device = {.uuid = "GPU-aaaa-1", .gpu = 0, .mem_total_bytes = 40960ull * MIB}, .n_slices = 1},
    {.device = {.uuid = "MIG-bbbb-1",
                .kind = DEVICE_MIG,
                .gpu = 1,
                .mig_index = 0,
                .instance = {9, 0},
                .profile = "1g.5gb",
                .mem_total_bytes = 4864ull * MIB},
     .n_slices = 1},
    {.device = {.uuid = "MIG-cccc-1",
                .kind = DEVICE_MIG,
                .gpu = 1,
                .mig_index = 1,
                .instance = {10, 1},
                .profile = "2g.10gb"},
     .left_out = "it is lost"},
};
static const struct plan mig_plan = {
    .resources = mig_resources,
    .n_resources = 2,
    .gpus = mig_gpus,
    .n_gpus = 2,
    .devices = mig_devices,
    .n_devices = 3,
};

static void test_tables_of_mig_devices(void **state)
{
    char text[4096];
    FILE *out = fmemopen(text, sizeof(text), "w");

    assert_non_null(out);
    view_tables(&mig_plan, &target, NULL, &no_preview, out);
    fclose(out);
    assert_string_equal(
        text,
        "desk: 2 GPUs, driver 550.163.01, CUDA 12.4\n"
        "\n"
        "GPU  MODEL         UUID         MEMORY  SLICES                     SHARE     MEMORY\n"
        "  0  A100          GPU-aaaa  40960 MiB  1 x nvidia.com/gpu         100 %  40960 MiB\n"
        "1:0  A100 1g.5gb   MIG-bbbb   4864 MiB  1 x nvidia.com/mig-1g.5gb  100 %   4864 MiB\n"
        "1:1  A100 2g.10gb  MIG-cccc    unknown  left out\n"
        "\n"
        "RESOURCE               DEVICES  SHARING  PER CONTAINER\n"
        "nvidia.com/gpu               1  none     any number\n"
        "nvidia.com/mig-1g.5gb        1  none     any number\n"
        "\n"
        "LEFT OUT\n"
        "MIG device 1:1: it is lost\n");
}

/* A whole GPU is shown in the same way with and without MIG devices beside it. */
static void test_tree_of_mig_devices(void **state)
{
    cleanup(json_decrefp) json_t *tree = view_tree(&mig_plan, &target, &no_extras, &no_preview);
    cleanup(json_decrefp) json_t *wanted = json_loads(
        "[{\"index\": 0, \"uuid\": \"GPU-aaaa-1\", \"model\": \"A100\","
        "  \"memory_bytes\": 42949672960, \"left_out\": null, \"slices\": ["
        "  {\"id\": \"GPU-aaaa-1\", \"resource\": \"nvidia.com/gpu\", \"share_permille\": 1000,"
        "   \"memory_bytes\": 42949672960, \"advisory\": false}]},"
        " {\"index\": 1, \"uuid\": \"GPU-bbbb-1\", \"model\": \"A100\","
        "  \"memory_bytes\": 42949672960, \"left_out\": null, \"slices\": [], \"mig_devices\": ["
        "  {\"index\": \"1:0\", \"uuid\": \"MIG-bbbb-1\", \"profile\": \"1g.5gb\","
        "   \"gpu_instance\": 9, \"compute_instance\": 0, \"memory_bytes\": 5100273664,"
        "   \"left_out\": null, \"slices\": ["
        "   {\"id\": \"MIG-bbbb-1\", \"resource\": \"nvidia.com/mig-1g.5gb\","
        "    \"share_permille\": 1000, \"memory_bytes\": 5100273664, \"advisory\": false}]},"
        "  {\"index\": \"1:1\", \"uuid\": \"MIG-cccc-1\", \"profile\": \"2g.10gb\","
        "   \"gpu_instance\": 10, \"compute_instance\": 1, \"memory_bytes\": null,"
        "   \"left_out\": \"it is lost\", \"slices\": []}]}]",
        0, NULL);

    assert_non_null(wanted);
    assert_true(json_equal(json_object_get(tree, "gpus"), wanted));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_tree),
        cmocka_unit_test(test_tables_of_mig_devices),
        cmocka_unit_test(test_tree_of_mig_devices),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
