// SPDX-License-Identifier: Apache-2.0
#include "plugin/allocation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/file.h"
#include "base/text.h"
#include "config/load.h"
#include "rpc/message.h"

#define UUID_0 "GPU-00000000-aaaa-5bbb-8ccc-000000000000"
#define UUID_1 "GPU-11111111-aaaa-5bbb-8ccc-111111111111"

/* Our view of the driver root: what this machine has itself makes no difference. */
static char driver_root[] = "/tmp/gpuslice-allocation-XXXXXX";

/* The container's driver root is the test's, whatever the file says. */
static void mount_driver_root(struct config *config)
{
    free(config->plugin.container_driver_root);
    config->plugin.container_driver_root = strdup(driver_root);
    assert_non_null(config->plugin.container_driver_root);
}

static void make_node(const char *path)
{
    char whole[256];

    snprintf(whole, sizeof(whole), "%s%s", driver_root, path);
    *strrchr(whole, '/') = '\0';
    assert_int_equal(file_make_directory(whole, NULL), 0);
    snprintf(whole, sizeof(whole), "%s%s", driver_root, path);
    assert_int_equal(file_write_atomic(whole, "", 0, 0644, NULL), 0);
}

static int make_driver_root(void **state)
{
    char path[64];

    (void)state;
    assert_non_null(mkdtemp(driver_root));
    snprintf(path, sizeof(path), "%s/dev", driver_root);
    return file_make_directory(path, NULL);
}

static int drop_driver_root(void **state)
{
    char command[96];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf %s", driver_root);
    return system(command);
}

/* Two V100s; `config` is what a file would say. */
struct fixture {
    struct gpu gpus[2];
    struct inventory inventory;
    struct config *config;
    struct offer *offer;
};

static void make_offer(struct fixture *fixture, const char *yaml)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    struct error err = ERROR_INIT;

    fixture->gpus[0] = (struct gpu){.index = 0, .uuid = UUID_0, .minor = 0, .numa_node = -1};
    fixture->gpus[1] = (struct gpu){.index = 1, .uuid = UUID_1, .minor = 1, .numa_node = -1};
    for (size_t i = 0; i < 2; i++) {
        strcpy(fixture->gpus[i].model, "Tesla V100-SXM2-16GB");
        fixture->gpus[i].mem_total_bytes = 16ull << 30;
    }
    fixture->inventory = (struct inventory){.gpus = fixture->gpus, .n_gpus = 2};
    if (config_parse(yaml, strlen(yaml),
                     &(struct config_request){.source = "test.yaml", .strictness = CONFIG_AGENT},
                     &problems, &fixture->config, &err) < 0)
        fail_msg("%s", problems.n_items ? problems.items[0].text : error_text(&err));
    mount_driver_root(fixture->config);
    for (size_t i = 0; i < fixture->config->policy.n_sharing; i++)
        fixture->config->policy.sharing[i].served = true;
    assert_int_equal(offer_new(fixture->config, &fixture->inventory, NULL, &fixture->offer), 0);
}

static void drop_offer(struct fixture *fixture)
{
    offer_free(fixture->offer);
    config_free(fixture->config);
}

/* An answer as one text: `env KEY=VALUE`, `mount HOST CONTAINER`, `device HOST`, `cdi NAME` lines.
 */
static void describe(const v1beta1_ContainerAllocateResponse *answer, struct text *out)
{
    for (size_t i = 0; i < answer->envs_count; i++)
        text_addf(out, "env %s=%s\n", answer->envs[i].key, answer->envs[i].value);
    for (size_t i = 0; i < answer->mounts_count; i++)
        text_addf(out, "mount %s %s\n", answer->mounts[i].host_path,
                  answer->mounts[i].container_path);
    for (size_t i = 0; i < answer->devices_count; i++)
        text_addf(out, "device %s %s %s\n", answer->devices[i].host_path,
                  answer->devices[i].container_path, answer->devices[i].permissions);
    for (size_t i = 0; i < answer->cdi_devices_count; i++)
        text_addf(out, "cdi %s\n", answer->cdi_devices[i].name);
    for (size_t i = 0; i < answer->annotations_count; i++)
        text_addf(out, "annotation %.*s %s\n", (int)strlen("cdi.k8s.io/nvidia-device-plugin_"),
                  answer->annotations[i].key, answer->annotations[i].value);
}

#define SHARED_BY_4 "sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 4}]}}\n"
#define MPS_ON_GPU_0                      \
    "flags: {mpsRoot: /run/nvidia/mps}\n" \
    "sharing: {mps: {resources: [{name: nvidia.com/gpu, replicas: 2, devices: [0]}]}}\n"
#define MPS_AND_TIME_SLICING                                                                 \
    "flags: {mpsRoot: /run/nvidia/mps}\n"                                                    \
    "sharing: {mps: {failRequestsGreaterThanOne: false, resources: [{name: nvidia.com/gpu, " \
    "replicas: 2, devices: [0]}]}, timeSlicing: {resources: [{name: nvidia.com/gpu, "        \
    "replicas: 4, devices: [1]}]}}\n"
#define ONE_SLICE_ONLY                                                              \
    "sharing: {timeSlicing: {failRequestsGreaterThanOne: true, resources: [{name: " \
    "nvidia.com/gpu, replicas: 4, devices: [0]}]}}\n"
#define MPS_ANSWER(visible)                                                  \
    "env CUDA_MPS_PIPE_DIRECTORY=/mps/nvidia.com/gpu/pipe\n"                 \
    "env NVIDIA_VISIBLE_DEVICES=" visible                                    \
    "\nmount /run/nvidia/mps/nvidia.com/gpu/pipe /mps/nvidia.com/gpu/pipe\n" \
    "mount /run/nvidia/mps/shm /dev/shm\n"
#define FOLDER "/var/run/nvidia-container-devices"
#define CDI    "k8s.device-plugin.nvidia.com/gpu="

struct row {
    const char *name, *yaml, *ids[3], *expected;
};

/* The driver root has no device node. */
static const struct row rows[] = {
    {"whole GPU", "flags: {}", {UUID_0}, "env NVIDIA_VISIBLE_DEVICES=" UUID_0 "\n"},
    {"two whole GPUs in the order asked for",
     "flags: {}",
     {UUID_1, UUID_0},
     "env NVIDIA_VISIBLE_DEVICES=" UUID_1 "," UUID_0 "\n"},
    {"slice", SHARED_BY_4, {UUID_1 "::3"}, "env NVIDIA_VISIBLE_DEVICES=" UUID_1 "\n"},
    {"two slices of one GPU name it once",
     SHARED_BY_4,
     {UUID_0 "::0", UUID_0 "::1"},
     "env NVIDIA_VISIBLE_DEVICES=" UUID_0 "\n"},
    {"slices of two GPUs",
     SHARED_BY_4,
     {UUID_0 "::0", UUID_1 "::0"},
     "env NVIDIA_VISIBLE_DEVICES=" UUID_0 "," UUID_1 "\n"},
    {"index ids",
     "flags: {plugin: {deviceIDStrategy: index}}",
     {UUID_1, UUID_0},
     "env NVIDIA_VISIBLE_DEVICES=1,0\n"},
    {"volume mounts",
     "flags: {plugin: {deviceListStrategy: volume-mounts}}",
     {UUID_0, UUID_1},
     "env NVIDIA_VISIBLE_DEVICES=" FOLDER "\nmount /dev/null " FOLDER "/" UUID_0
     "\nmount /dev/null " FOLDER "/" UUID_1 "\n"},
    {"volume mounts override the variable",
     "flags: {plugin: {deviceListStrategy: [envvar, volume-mounts]}}",
     {UUID_0},
     "env NVIDIA_VISIBLE_DEVICES=" FOLDER "\nmount /dev/null " FOLDER "/" UUID_0 "\n"},
    {"CDI by CRI says nothing else",
     "flags: {nvidiaDevRoot: /nowhere, plugin: {deviceListStrategy: cdi-cri, passDeviceSpecs: "
     "true}}",
     {UUID_0, UUID_1},
     "cdi " CDI UUID_0 "\ncdi " CDI UUID_1 "\n"},
    {"CDI by annotation",
     "flags: {gdsEnabled: true, plugin: {deviceListStrategy: cdi-annotations}}",
     {UUID_0, UUID_1},
     "env NVIDIA_GDS=enabled\nannotation cdi.k8s.io/nvidia-device-plugin_ " CDI UUID_0
     "," CDI UUID_1 ",k8s.device-plugin.nvidia.com/gds=all\n"},
    {"an annotation for another runtime",
     "flags: {plugin: {deviceListStrategy: cdi-annotations, cdiAnnotationPrefix: cdi.test.x/}}",
     {UUID_0},
     "annotation cdi.test.x/nvidia-device-plugin_ " CDI UUID_0 "\n"},
    {"an annotation that would name nothing is ignored",
     "flags: {plugin: {deviceListStrategy: cdi-annotations}}",
     {NULL},
     ""},
    {"CDI beside the variable",
     "flags: {plugin: {deviceListStrategy: [envvar, cdi-cri], deviceIDStrategy: index}}",
     {UUID_1},
     "env NVIDIA_VISIBLE_DEVICES=1\ncdi " CDI "1\n"},
    {"features",
     "flags: {gdrcopyEnabled: true, gdsEnabled: true, mofedEnabled: true}",
     {UUID_0},
     "env NVIDIA_GDRCOPY=enabled\nenv NVIDIA_GDS=enabled\nenv NVIDIA_MOFED=enabled\n"
     "env NVIDIA_VISIBLE_DEVICES=" UUID_0 "\n"},
    {"device specs below the dev root, each GPU once",
     "flags: {nvidiaDevRoot: /nowhere, plugin: {passDeviceSpecs: true}}\n" SHARED_BY_4,
     {UUID_0 "::0", UUID_0 "::1", UUID_1 "::0"},
     "env NVIDIA_VISIBLE_DEVICES=" UUID_0 "," UUID_1
     "\ndevice /nowhere/dev/nvidia0 /dev/nvidia0 rw\n"
     "device /nowhere/dev/nvidia1 /dev/nvidia1 rw\n"},
    {"an absent IMEX channel is skipped",
     "flags: {nvidiaDevRoot: /nowhere}\nimex: {channelIDs: [0]}",
     {UUID_0},
     "env NVIDIA_VISIBLE_DEVICES=" UUID_0 "\n"},
    {"MPS",
     "flags: {mpsRoot: /run/nvidia/mps}\n"
     "sharing: {mps: {resources: [{name: nvidia.com/gpu, replicas: 2}]}}",
     {UUID_0 "::1"},
     MPS_ANSWER(UUID_0)},
    {"a whole GPU beside MPS slices needs no MPS",
     MPS_ON_GPU_0,
     {UUID_1},
     "env NVIDIA_VISIBLE_DEVICES=" UUID_1 "\n"},
    {"an MPS slice beside whole GPUs", MPS_ON_GPU_0, {UUID_0 "::1"}, MPS_ANSWER(UUID_0)},
    {"a time-sliced GPU beside MPS slices needs no MPS",
     MPS_AND_TIME_SLICING,
     {UUID_1 "::2"},
     "env NVIDIA_VISIBLE_DEVICES=" UUID_1 "\n"},
    {"slices of both kinds in one container",
     MPS_AND_TIME_SLICING,
     {UUID_1 "::2", UUID_0 "::0"},
     MPS_ANSWER(UUID_1 "," UUID_0)},
    {"one slice and a whole GPU is one slice",
     ONE_SLICE_ONLY,
     {UUID_0 "::0", UUID_1},
     "env NVIDIA_VISIBLE_DEVICES=" UUID_0 "," UUID_1 "\n"},
};

static size_t count_ids(const char *const *ids)
{
    size_t n = 0;

    while (n < 3 && ids[n])
        n++;
    return n;
}

static void check_row(const struct row *row)
{
    v1beta1_ContainerAllocateResponse answer;
    cleanup_text struct text text = TEXT_INIT;
    struct fixture fixture;
    struct error err = ERROR_INIT;

    make_offer(&fixture, row->yaml);
    if (allocation_answer(fixture.offer, NULL, "nvidia.com/gpu", (char *const *)(uintptr_t)row->ids,
                          count_ids(row->ids), &answer, &err) != 0)
        fail_msg("%s: %s", row->name, error_text(&err));
    describe(&answer, &text);
    if (!str_equal(text_string(&text), row->expected))
        fail_msg("%s: got\n%swanted\n%s", row->name, text_string(&text), row->expected);
    message_release(v1beta1_ContainerAllocateResponse_fields, &answer);
    drop_offer(&fixture);
}

static void answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        check_row(&rows[i]);
}

#define DRIVER       "/run/nvidia/driver"
#define CHANNEL_NODE "/dev/nvidia-caps-imex-channels/channel0"
#define NODES(root)                                                   \
    "device " root "/dev/nvidiactl /dev/nvidiactl rw\n"               \
    "device " root "/dev/nvidia-uvm /dev/nvidia-uvm rw\n"             \
    "device " root "/dev/nvidia-uvm-tools /dev/nvidia-uvm-tools rw\n" \
    "device " root "/dev/nvidia-modeset /dev/nvidia-modeset rw\n"     \
    "device " root "/dev/nvidia0 /dev/nvidia0 rw\n"                   \
    "device " root CHANNEL_NODE " " CHANNEL_NODE " rw\n"

/* The driver root has every node: found in our view, named as the host has them. */
static const struct row rows_with_nodes[] = {
    {"a driver container",
     "flags: {nvidiaDriverRoot: " DRIVER ", plugin: {passDeviceSpecs: true}}\n"
     "imex: {channelIDs: [0]}",
     {UUID_0},
     "env NVIDIA_VISIBLE_DEVICES=" UUID_0 "\nenv NVIDIA_IMEX_CHANNELS=0\n" NODES(DRIVER)},
    {"the host's root, mounted",
     "flags: {plugin: {passDeviceSpecs: true}}\nimex: {channelIDs: [0]}",
     {UUID_0},
     "env NVIDIA_VISIBLE_DEVICES=" UUID_0 "\nenv NVIDIA_IMEX_CHANNELS=0\n" NODES("")},
    {"a dev root of its own",
     "flags: {nvidiaDriverRoot: " DRIVER ", nvidiaDevRoot: /, plugin: {passDeviceSpecs: true}}\n"
     "imex: {channelIDs: [0]}",
     {UUID_0},
     "env NVIDIA_VISIBLE_DEVICES=" UUID_0 "\nenv NVIDIA_IMEX_CHANNELS=0\n" NODES("")},
    {"IMEX channels as volume mounts",
     "flags: {nvidiaDriverRoot: " DRIVER ", plugin: {deviceListStrategy: volume-mounts}}\n"
     "imex: {channelIDs: [0]}",
     {UUID_0},
     "env NVIDIA_VISIBLE_DEVICES=" FOLDER "\nmount /dev/null " FOLDER "/" UUID_0
     "\nmount /dev/null " FOLDER "/imex/0\n"},
    {"IMEX channels by CDI",
     "flags: {nvidiaDriverRoot: " DRIVER ", plugin: {deviceListStrategy: cdi-cri}}\n"
     "imex: {channelIDs: [0]}",
     {UUID_0},
     "cdi " CDI UUID_0 "\ncdi k8s.device-plugin.nvidia.com/imex-channel=0\n"},
};

static void nodes_are_named_as_on_the_host(void **state)
{
    static const char *const nodes[] = {"/dev/nvidiactl",        "/dev/nvidia-uvm",
                                        "/dev/nvidia-uvm-tools", "/dev/nvidia-modeset",
                                        "/dev/nvidia0",          CHANNEL_NODE};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(nodes); i++)
        make_node(nodes[i]);
    for (size_t i = 0; i < ARRAY_SIZE(rows_with_nodes); i++)
        check_row(&rows_with_nodes[i]);
}

static void refusals(void **state)
{
    static char *const unknown[] = {(char *)(uintptr_t) "GPU-22222222::0"};
    static char *const two[] = {(char *)(uintptr_t)(UUID_0 "::0"),
                                (char *)(uintptr_t)(UUID_1 "::0")};
    v1beta1_ContainerAllocateResponse answer;
    struct error err = ERROR_INIT;
    struct fixture fixture;

    (void)state;
    make_offer(&fixture, "sharing: {timeSlicing: {failRequestsGreaterThanOne: true, resources: "
                         "[{name: nvidia.com/gpu, replicas: 4}]}}");
    assert_int_equal(
        allocation_answer(fixture.offer, NULL, "nvidia.com/gpu", unknown, 1, &answer, &err),
        ALLOCATION_UNKNOWN_DEVICE);
    assert_non_null(strstr(err.message, "GPU-22222222::0"));
    assert_int_equal(
        allocation_answer(fixture.offer, NULL, "nvidia.com/gpu", two, 2, &answer, &err),
        ALLOCATION_TOO_MANY);
    assert_non_null(strstr(err.message, "failRequestsGreaterThanOne"));
    assert_int_equal(allocation_answer(fixture.offer, NULL, "nvidia.com/no", two, 1, &answer, &err),
                     ALLOCATION_UNKNOWN_DEVICE);
    drop_offer(&fixture);
}

static void unique_slices_are_on_different_gpus(void **state)
{
    static char *const ids[] = {(char *)(uintptr_t)(UUID_0 "::0"),
                                (char *)(uintptr_t)(UUID_1 "::3"),
                                (char *)(uintptr_t)(UUID_0 "::1")};
    v1beta1_ContainerAllocateResponse answer;
    struct error err = ERROR_INIT;
    struct fixture fixture;

    (void)state;
    make_offer(&fixture, SHARED_BY_4 "gpuslice: {unique: true}\n");
    assert_int_equal(
        allocation_answer(fixture.offer, NULL, "nvidia.com/gpu", ids, 3, &answer, &err),
        ALLOCATION_NOT_UNIQUE);
    assert_string_equal(err.message,
                        "the 3 slices of nvidia.com/gpu that the kubelet chose are on 2 "
                        "GPUs, and gpuslice.unique wants each on a GPU of its own");
    assert_int_equal(
        allocation_answer(fixture.offer, NULL, "nvidia.com/gpu", ids, 2, &answer, &err), 0);
    message_release(v1beta1_ContainerAllocateResponse_fields, &answer);
    drop_offer(&fixture);
}

/* In a resource of slices and whole GPUs only the slices count; one of each is a row above. */
static void whole_gpus_are_not_counted(void **state)
{
    static char *const slices[] = {(char *)(uintptr_t)(UUID_0 "::0"), (char *)(uintptr_t)(UUID_1),
                                   (char *)(uintptr_t)(UUID_0 "::1")};
    v1beta1_ContainerAllocateResponse answer;
    struct error err = ERROR_INIT;
    struct fixture fixture;

    (void)state;
    make_offer(&fixture, ONE_SLICE_ONLY);
    assert_int_equal(
        allocation_answer(fixture.offer, NULL, "nvidia.com/gpu", slices, 3, &answer, &err),
        ALLOCATION_TOO_MANY);
    assert_non_null(strstr(err.message, "1 slice per container, not 2"));
    drop_offer(&fixture);
}

/* A reload from 4 to 2 replicas races with an Allocate that the kubelet had begun. */
static void id_of_the_offer_before(void **state)
{
    static char *const last[] = {(char *)(uintptr_t)(UUID_0 "::3")};
    v1beta1_ContainerAllocateResponse answer;
    struct fixture before, now;

    (void)state;
    make_offer(&before, SHARED_BY_4);
    make_offer(&now, "sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 2}]}}");
    assert_int_equal(
        allocation_answer(now.offer, before.offer, "nvidia.com/gpu", last, 1, &answer, NULL), 0);
    assert_string_equal(answer.envs[0].value, UUID_0);
    message_release(v1beta1_ContainerAllocateResponse_fields, &answer);
    drop_offer(&before);
    drop_offer(&now);
}

#define MIG_UUID(i) "MIG-00000000-aaaa-5bbb-8ccc-00000000000" #i

/* GPU 0 in the MIG devices 0 (two thirds), 1 and 2 (a third each, shared by two); GPU 1 whole. */
static void make_mig_offer(struct fixture *fixture, struct device mig_devices[3], const char *yaml)
{
    struct gpu gpus[2] = {
        {.index = 0, .uuid = UUID_0, .minor = 4, .numa_node = -1, .mig_enabled = true},
        {.index = 1, .uuid = UUID_1, .minor = 5, .numa_node = -1}};
    const struct inventory inventory = {
        .gpus = gpus, .n_gpus = 2, .mig_devices = mig_devices, .n_mig_devices = 3};
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    char whole[1024];

    snprintf(whole, sizeof(whole),
             "flags: {migStrategy: mixed, nvidiaDevRoot: /nowhere%s}\n"
             "sharing: {timeSlicing: {resources: [{name: mig-1g.6gb, replicas: 2}]}}\n",
             yaml);
    for (unsigned i = 0; i < 3; i++) {
        mig_devices[i] = (struct device){.kind = DEVICE_MIG,
                                         .mig_index = i,
                                         .instance = {9 + i, 0},
                                         .minor = 4,
                                         .gi_minor = 30 + (int)i * 9,
                                         .ci_minor = 31 + (int)i * 9,
                                         .numa_node = -1,
                                         .mem_total_bytes = 6ull << 30};
        snprintf(mig_devices[i].uuid, GPU_UUID_SIZE, "MIG-00000000-aaaa-5bbb-8ccc-00000000000%u",
                 i);
        strcpy(mig_devices[i].profile, i == 0 ? "2g.12gb" : "1g.6gb");
    }
    if (config_parse(whole, strlen(whole),
                     &(struct config_request){.source = "test.yaml", .strictness = CONFIG_AGENT},
                     &problems, &fixture->config, NULL) < 0)
        fail_msg("%s", problems.n_items ? problems.items[0].text : "no memory");
    mount_driver_root(fixture->config);
    assert_int_equal(offer_new(fixture->config, &inventory, NULL, &fixture->offer), 0);
}

#define MIG_CAP(i) "/dev/nvidia-caps/nvidia-cap" #i

static const struct {
    const char *name, *yaml, *resource, *ids[3], *expected;
} mig_rows[] = {
    {"a MIG device",
     "",
     "nvidia.com/mig-2g.12gb",
     {MIG_UUID(0)},
     "env NVIDIA_VISIBLE_DEVICES=" MIG_UUID(0) "\n"},
    {"a slice of one",
     "",
     "nvidia.com/mig-1g.6gb",
     {MIG_UUID(1) "::1"},
     "env NVIDIA_VISIBLE_DEVICES=" MIG_UUID(1) "\n"},
    {"slices of one name it once",
     "",
     "nvidia.com/mig-1g.6gb",
     {MIG_UUID(2) "::1", MIG_UUID(1) "::0", MIG_UUID(2) "::0"},
     "env NVIDIA_VISIBLE_DEVICES=" MIG_UUID(2) "," MIG_UUID(1) "\n"},
    {"index ids",
     ", plugin: {deviceIDStrategy: index}",
     "nvidia.com/mig-1g.6gb",
     {MIG_UUID(2) "::1", MIG_UUID(1) "::0"},
     "env NVIDIA_VISIBLE_DEVICES=0:2,0:1\n"},
    {"a whole GPU beside them",
     ", plugin: {deviceIDStrategy: index}",
     "nvidia.com/gpu",
     {UUID_1},
     "env NVIDIA_VISIBLE_DEVICES=1\n"},
    {"volume mounts",
     ", plugin: {deviceListStrategy: volume-mounts}",
     "nvidia.com/mig-2g.12gb",
     {MIG_UUID(0)},
     "env NVIDIA_VISIBLE_DEVICES=" FOLDER "\nmount /dev/null " FOLDER "/" MIG_UUID(0) "\n"},
    {"CDI",
     ", plugin: {deviceListStrategy: cdi-cri}",
     "nvidia.com/mig-2g.12gb",
     {MIG_UUID(0)},
     "cdi " CDI MIG_UUID(0) "\n"},
    {"CDI by index",
     ", plugin: {deviceListStrategy: cdi-cri, deviceIDStrategy: index}",
     "nvidia.com/mig-1g.6gb",
     {MIG_UUID(2) "::0"},
     "cdi " CDI "0:2\n"},
    {"device specs name the GPU's node once, and each device's capabilities",
     ", plugin: {passDeviceSpecs: true}",
     "nvidia.com/mig-1g.6gb",
     {MIG_UUID(1) "::0", MIG_UUID(2) "::0"},
     "env NVIDIA_VISIBLE_DEVICES=" MIG_UUID(1) "," MIG_UUID(
         2) "\n"
            "device /nowhere/dev/nvidia4 /dev/nvidia4 rw\n"
            "device /nowhere" MIG_CAP(39) " " MIG_CAP(
                39) " rw\n"
                    "device /nowhere" MIG_CAP(40) " " MIG_CAP(
                        40) " rw\n"
                            "device /nowhere" MIG_CAP(48) " " MIG_CAP(
                                48) " rw\n"
                                    "device /nowhere" MIG_CAP(49) " " MIG_CAP(49) " rw\n"},
};

/* A pod that was promised a GPU a moment before it is partitioned. */
static void what_is_withheld_is_refused(void **state)
{
    static char *const ids[] = {(char *)(uintptr_t)UUID_0};
    v1beta1_ContainerAllocateResponse answer;
    struct error err = ERROR_INIT;
    struct fixture fixture;
    struct offer *now;

    (void)state;
    make_offer(&fixture, "flags: {}");
    strcpy(fixture.gpus[0].withheld, "it is being partitioned");
    assert_int_equal(offer_new(fixture.config, &fixture.inventory, NULL, &now), 0);
    assert_int_equal(allocation_answer(now, fixture.offer, "nvidia.com/gpu", ids, 1, &answer, &err),
                     ALLOCATION_WITHHELD);
    assert_string_equal(error_text(&err), "GPU 0 (" UUID_0 ") cannot be given to a container: it "
                                          "is being partitioned");
    offer_free(now);
    drop_offer(&fixture);
}

/* The kubelet asks for a device that has just changed its name. */
static void a_device_is_given_under_one_of_its_names(void **state)
{
    static const struct {
        enum namepool_name now;
        const char *asked, *refused; /* NULL = it is given */
    } names[] = {
        {NAMEPOOL_FIRST, "nvidia.com/gpu", NULL},
        {NAMEPOOL_SECOND, "nvidia.com/mig-2g.12gb", NULL},
        {NAMEPOOL_FIRST, "nvidia.com/mig-2g.12gb", "it is offered as nvidia.com/gpu now"},
        {NAMEPOOL_SECOND, "nvidia.com/gpu", "it is offered as nvidia.com/mig-2g.12gb now"},
        {NAMEPOOL_NEITHER, "nvidia.com/gpu", "it is offered as neither of its names for a moment"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        struct gpu gpu = {.uuid = UUID_0, .numa_node = -1, .mig_enabled = true};
        v1beta1_ContainerAllocateResponse answer;
        struct error err = ERROR_INIT;
        struct device mig_devices[3];
        const struct inventory inventory = {
            .gpus = &gpu, .n_gpus = 1, .mig_devices = mig_devices, .n_mig_devices = 1};
        struct fixture fixture;
        struct offer *offer;
        int r;

        make_mig_offer(&fixture, mig_devices, "");
        fixture.config->policy.mig_strategy = MIG_STRATEGY_SINGLE;
        fixture.config->policy.mig_names = MIG_NAMES_BOTH;
        assert_int_equal(offer_new(fixture.config, &inventory, NULL, &offer), 0);
        offer->names[0] = names[i].now;
        r = allocation_answer(offer, fixture.offer, names[i].asked, (char *[]){mig_devices[0].uuid},
                              1, &answer, &err);
        assert_int_equal(r, names[i].refused ? ALLOCATION_OTHER_NAME : 0);
        if (names[i].refused)
            assert_non_null(strstr(error_text(&err), names[i].refused));
        else
            message_release(v1beta1_ContainerAllocateResponse_fields, &answer);
        offer_free(offer);
        drop_offer(&fixture);
    }
}

static void answers_for_mig_devices(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(mig_rows); i++) {
        v1beta1_ContainerAllocateResponse answer;
        cleanup_text struct text text = TEXT_INIT;
        struct device mig_devices[3];
        struct fixture fixture;
        struct error err = ERROR_INIT;

        make_mig_offer(&fixture, mig_devices, mig_rows[i].yaml);
        if (allocation_answer(fixture.offer, NULL, mig_rows[i].resource,
                              (char *const *)(uintptr_t)mig_rows[i].ids, count_ids(mig_rows[i].ids),
                              &answer, &err) != 0)
            fail_msg("%s: %s", mig_rows[i].name, error_text(&err));
        describe(&answer, &text);
        if (!str_equal(text_string(&text), mig_rows[i].expected))
            fail_msg("%s: got\n%swanted\n%s", mig_rows[i].name, text_string(&text),
                     mig_rows[i].expected);
        message_release(v1beta1_ContainerAllocateResponse_fields, &answer);
        drop_offer(&fixture);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers),
        cmocka_unit_test(refusals),
        cmocka_unit_test(whole_gpus_are_not_counted),
        cmocka_unit_test(unique_slices_are_on_different_gpus),
        cmocka_unit_test(id_of_the_offer_before),
        cmocka_unit_test(what_is_withheld_is_refused),
        cmocka_unit_test(a_device_is_given_under_one_of_its_names),
        cmocka_unit_test(answers_for_mig_devices),
        cmocka_unit_test(nodes_are_named_as_on_the_host), /* the last: it makes the nodes */
    };

    return cmocka_run_group_tests_name("plugin/allocation", tests, make_driver_root,
                                       drop_driver_root);
}
