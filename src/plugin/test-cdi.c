// SPDX-License-Identifier: Apache-2.0
#include "plugin/cdi.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/array.h"
#include "base/file.h"
#include "base/text.h"
#include "config/load.h"

#define UUID_0 "GPU-00000000-aaaa-5bbb-8ccc-000000000000"
#define UUID_1 "GPU-11111111-aaaa-5bbb-8ccc-111111111111"

/* A host as a container sees it: driver files below a folder of their own. */
static const char *const files[] = {
    "usr/lib/x86_64-linux-gnu/libcuda.so.550.163.01",
    "usr/lib/x86_64-linux-gnu/libnvidia-ml.so.550.163.01",
    "usr/lib/x86_64-linux-gnu/libcuda.so.1", /* a link the hook makes again */
    "usr/lib/x86_64-linux-gnu/libc.so.6",
    "usr/lib64/libnvidia-encode.so.535.1", /* of another driver */
    "usr/bin/nvidia-smi",
    "dev/nvidiactl",
    "dev/nvidia-uvm",
};

struct world {
    char root[64];
    struct config *config;
    struct offer *offer;
};

/* The GPUs' device nodes; -1 = it has none. */
static void make_world_with(struct world *world, const char *plugin, int minor_0, int minor_1)
{
    struct gpu gpus[] = {
        {.index = 0,
         .uuid = UUID_0,
         .model = "Tesla T4",
         .minor = minor_0,
         .numa_node = -1,
         .pci_address = "0000:00:1b.0"},
        {.index = 1, .uuid = UUID_1, .model = "Tesla T4", .minor = minor_1, .numa_node = -1},
    };
    const struct inventory inventory = {.driver_version = "550.163.01", .gpus = gpus, .n_gpus = 2};
    char yaml[512], path[256];
    struct error err = ERROR_INIT;

    strcpy(world->root, "/tmp/gpuslice-cdi-XXXXXX");
    assert_non_null(mkdtemp(world->root));
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        snprintf(path, sizeof(path), "%s/%s", world->root, files[i]);
        *strrchr(path, '/') = '\0';
        assert_int_equal(file_make_directory(path, NULL), 0);
        snprintf(path, sizeof(path), "%s/%s", world->root, files[i]);
        assert_int_equal(file_write_atomic(path, "", 0, 0644, NULL), 0);
    }
    snprintf(yaml, sizeof(yaml),
             "flags: {nvidiaDriverRoot: /host/root, plugin: {"
             "containerDriverRoot: '%s', deviceListStrategy: cdi-cri%s}}\n",
             world->root, plugin);
    assert_int_equal(
        config_parse(yaml, strlen(yaml),
                     &(struct config_request){.source = "test", .strictness = CONFIG_AGENT}, NULL,
                     &world->config, &err),
        0);
    assert_int_equal(offer_new(world->config, &inventory, NULL, &world->offer), 0);
}

static void make_world(struct world *world, const char *plugin)
{
    make_world_with(world, plugin, 0, 4);
}

static void drop_world(struct world *world)
{
    char command[128];

    offer_free(world->offer);
    config_free(world->config);
    snprintf(command, sizeof(command), "rm -rf %s", world->root);
    assert_int_equal(system(command), 0);
}

static void cdi_path(const struct world *world, const char *class, char *path, size_t size)
{
    snprintf(path, size, "%s/cdi/gpuslice-k8s.device-plugin.nvidia.com-%s.json", world->root,
             class);
}

/* The spec of a class as written; NULL when there is none. */
static json_t *load_class(const struct world *world, const char *class)
{
    char folder[128], path[256];

    snprintf(folder, sizeof(folder), "%s/cdi", world->root);
    assert_int_equal(cdi_write(folder, world->offer, NULL), 0);
    cdi_path(world, class, path, sizeof(path));
    return json_load_file(path, 0, NULL);
}

static json_t *load(const struct world *world)
{
    json_t *spec = load_class(world, "gpu");

    assert_non_null(spec);
    return spec;
}

static const char *string_at(const json_t *spec, const char *list, size_t i, const char *key)
{
    const json_t *edits = json_object_get(spec, "containerEdits");

    return json_string_value(json_object_get(json_array_get(json_object_get(edits, list), i), key));
}

static void spec_names_what_the_driver_installed(void **state)
{
    struct world world;
    json_t *spec;

    (void)state;
    make_world(&world, "");
    spec = load(&world);
    assert_string_equal(json_string_value(json_object_get(spec, "kind")),
                        "k8s.device-plugin.nvidia.com/gpu");
    assert_string_equal(string_at(spec, "mounts", 0, "hostPath"),
                        "/host/root/usr/lib/x86_64-linux-gnu/libcuda.so.550.163.01");
    assert_string_equal(string_at(spec, "mounts", 0, "containerPath"),
                        "/usr/lib/x86_64-linux-gnu/libcuda.so.550.163.01");
    assert_string_equal(string_at(spec, "mounts", 1, "containerPath"),
                        "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.550.163.01");
    assert_string_equal(string_at(spec, "mounts", 2, "containerPath"), "/usr/bin/nvidia-smi");
    assert_null(string_at(spec, "mounts", 3, "containerPath"));
    assert_string_equal(string_at(spec, "deviceNodes", 0, "path"), "/dev/nvidiactl");
    assert_string_equal(string_at(spec, "deviceNodes", 0, "hostPath"), "/host/root/dev/nvidiactl");
    assert_string_equal(string_at(spec, "deviceNodes", 1, "path"), "/dev/nvidia-uvm");
    assert_null(string_at(spec, "deviceNodes", 2, "path"));
    json_decref(spec);
    drop_world(&world);
}

/* "ARGUMENT ARGUMENT\n" for each hook of the spec. */
static void describe_hooks(const json_t *spec, struct text *out)
{
    const json_t *edits = json_object_get(spec, "containerEdits"), *hook, *argument;
    size_t i, k;

    json_array_foreach(json_object_get(edits, "hooks"), i, hook)
    {
        assert_string_equal(json_string_value(json_object_get(hook, "hookName")),
                            "createContainer");
        text_addf(out, "%s:", json_string_value(json_object_get(hook, "path")));
        json_array_foreach(json_object_get(hook, "args"), k, argument)
        {
            text_addf(out, " %s", json_string_value(argument));
        }
        text_add_char(out, '\n');
    }
}

#define LIBRARIES "/usr/lib/x86_64-linux-gnu"
#define LINKS     "create-symlinks --link libcuda.so.1::" LIBRARIES "/libcuda.so\n"
#define COMPAT    "enable-cuda-compat --host-driver-version=550.163.01\n"
#define LDCACHE   "update-ldcache --folder " LIBRARIES "\n"
#define NO_NODES  "disable-device-node-modification\n"

/* Each can be left out, for a program on the host that does not have it. */
static void hooks_as_the_program_calls_them(void **state)
{
    static const struct {
        const char *plugin;
        unsigned disabled;
        const char *hooks;
    } rows[] = {
#define CTK "/usr/bin/nvidia-ctk: nvidia-ctk hook "
        {"", 0, CTK LINKS CTK COMPAT CTK LDCACHE CTK NO_NODES},
#undef CTK
#define HOOK "/opt/nvidia-cdi-hook: nvidia-cdi-hook "
        {", nvidiaCTKPath: /opt/nvidia-cdi-hook", 0,
         HOOK LINKS HOOK COMPAT HOOK LDCACHE HOOK NO_NODES},
        {", nvidiaCTKPath: /opt/nvidia-cdi-hook", CDI_HOOK_COMPAT | CDI_HOOK_NO_NODES,
         HOOK LINKS HOOK LDCACHE},
        {", nvidiaCTKPath: /opt/nvidia-cdi-hook", CDI_HOOK_LINKS | CDI_HOOK_LDCACHE,
         HOOK COMPAT HOOK NO_NODES},
#undef HOOK
        {"", CDI_HOOK_ALL, ""},
        {", nvidiaCTKPath: ''", 0, ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        cleanup_text struct text got = TEXT_INIT;
        struct world world;
        json_t *spec;

        make_world(&world, rows[i].plugin);
        world.config->plugin.disabled_hooks = rows[i].disabled;
        spec = load(&world);
        describe_hooks(spec, &got);
        assert_string_equal(text_string(&got), rows[i].hooks);
        json_decref(spec);
        drop_world(&world);
    }
}

/* One that the host's program does not know would keep every container from starting. */
static void hooks_that_the_program_lacks_are_left_out(void **state)
{
    cleanup_text struct text got = TEXT_INIT;
    struct world world;
    json_t *spec;

    (void)state;
    make_world(&world, "");
    world.offer->missing_hooks = CDI_HOOK_COMPAT | CDI_HOOK_NO_NODES;
    spec = load(&world);
    describe_hooks(spec, &got);
    assert_null(strstr(text_string(&got), COMPAT));
    assert_null(strstr(text_string(&got), NO_NODES));
    assert_non_null(strstr(text_string(&got), LINKS));
    assert_non_null(strstr(text_string(&got), LDCACHE));
    json_decref(spec);
    drop_world(&world);
}

/* Found in our view, named as on the host, whatever the node belongs to. */
static void nodes_of_every_class(void **state)
{
    static const struct {
        const char *class, *node;
    } rows[] = {
        {"gpu", "/dev/dri/card3"},
        {"imex-channel", "/dev/nvidia-caps-imex-channels/channel0"},
        {"gdrcopy", "/dev/gdrdrv"},
        {"gds", "/dev/nvidia-fs3"},
        {"mofed", "/dev/infiniband/uverbs1"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char path[256], sysfs[128], wanted[256];
        cleanup_free char *text = NULL;
        struct world world;
        json_t *spec;

        make_world(&world, "");
        world.config->gdrcopy_enabled = world.config->gds_enabled = world.config->mofed_enabled =
            true;
        world.config->imex_channel_ids = calloc(1, sizeof(*world.config->imex_channel_ids));
        assert_non_null(world.config->imex_channel_ids);
        world.config->n_imex_channel_ids = 1;
        snprintf(sysfs, sizeof(sysfs), "%s/sys", world.root);
        setenv("GPUSLICE_SYSFS", sysfs, 1);
        snprintf(path, sizeof(path), "%s/bus/pci/devices/0000:00:1b.0/drm/card3", sysfs);
        assert_int_equal(file_make_directory(path, NULL), 0);
        snprintf(path, sizeof(path), "%s%s", world.root, rows[i].node);
        *strrchr(path, '/') = '\0';
        assert_int_equal(file_make_directory(path, NULL), 0);
        snprintf(path, sizeof(path), "%s%s", world.root, rows[i].node);
        assert_int_equal(file_write_atomic(path, "", 0, 0644, NULL), 0);
        spec = load_class(&world, rows[i].class);
        assert_non_null(spec);
        text = json_dumps(spec, JSON_COMPACT);
        snprintf(wanted, sizeof(wanted), "{\"path\":\"%s\",\"hostPath\":\"/host/root%s\"}",
                 rows[i].node, rows[i].node);
        if (!strstr(text, wanted))
            fail_msg("%s: %s", rows[i].class, text);
        json_decref(spec);
        unsetenv("GPUSLICE_SYSFS");
        drop_world(&world);
    }
}

static void devices_are_named_by_the_id_strategy(void **state)
{
    static const struct {
        const char *plugin, *names[3];
    } rows[] = {
        {"", {UUID_0, UUID_1, "all"}},
        {", deviceIDStrategy: index", {"0", "1", "all"}},
    };

    (void)state;
    for (size_t row = 0; row < ARRAY_SIZE(rows); row++) {
        struct world world;
        json_t *spec, *devices, *nodes;

        make_world(&world, rows[row].plugin);
        spec = load(&world);
        devices = json_object_get(spec, "devices");
        assert_int_equal(json_array_size(devices), 3);
        for (size_t i = 0; i < 3; i++)
            assert_string_equal(
                json_string_value(json_object_get(json_array_get(devices, i), "name")),
                rows[row].names[i]);
        nodes = json_object_get(json_object_get(json_array_get(devices, 1), "containerEdits"),
                                "deviceNodes");
        assert_int_equal(json_array_size(nodes), 1);
        assert_string_equal(json_string_value(json_object_get(json_array_get(nodes, 0), "path")),
                            "/dev/nvidia4");
        json_decref(spec);
        drop_world(&world);
    }
}

static void written_and_removed(void **state)
{
    struct world world;
    char folder[128], command[256];

    (void)state;
    make_world(&world, "");
    snprintf(folder, sizeof(folder), "%s/run/cdi", world.root);
    assert_int_equal(cdi_write(folder, world.offer, NULL), 0);
    assert_int_equal(cdi_write(folder, world.offer, NULL), 0);
    snprintf(command, sizeof(command), "test $(ls -A %s | wc -l) = 1", folder);
    assert_int_equal(system(command), 0);
    cdi_remove(folder);
    cdi_remove(folder);
    snprintf(command, sizeof(command), "test $(ls -A %s | wc -l) = 0", folder);
    assert_int_equal(system(command), 0);
    drop_world(&world);
}

/* A device without edits would make a runtime refuse the file, and with it every GPU. */
static void gpu_without_a_node_is_left_out(void **state)
{
    struct world world;
    json_t *spec;

    (void)state;
    make_world_with(&world, "", -1, 4);
    spec = load(&world);
    assert_int_equal(json_array_size(json_object_get(spec, "devices")), 2);
    json_decref(spec);
    drop_world(&world);
}

/* "NAME: NODE NODE\n" for each device of a spec, without the dev root. */
static void describe(const json_t *spec, struct text *out)
{
    const json_t *device, *node;
    size_t i, k;

    json_array_foreach(json_object_get(spec, "devices"), i, device)
    {
        const json_t *edits = json_object_get(device, "containerEdits");

        text_addf(out, "%s:", json_string_value(json_object_get(device, "name")));
        json_array_foreach(json_object_get(edits, "deviceNodes"), k, node)
        {
            text_addf(out, " %s", json_string_value(json_object_get(node, "path")));
        }
        text_add_char(out, '\n');
    }
}

/* GPU 0 has two MIG devices, of which the second's capabilities are not known; GPU 1 is whole. */
static void mig_devices_have_their_capabilities(void **state)
{
#define CAPS "/dev/nvidia-caps/nvidia-cap"
    static const struct {
        const char *plugin, *expected;
    } rows[] = {
        {"", "MIG-a: /dev/nvidia0 " CAPS "30 " CAPS "31\nMIG-b: /dev/nvidia0\n" UUID_1
             ": /dev/nvidia4\nall: /dev/nvidia0 " CAPS "30 " CAPS "31 /dev/nvidia4\n"},
        {", deviceIDStrategy: index",
         "0:0: /dev/nvidia0 " CAPS "30 " CAPS "31\n0:1: /dev/nvidia0\n1: /dev/nvidia4\n"
         "all: /dev/nvidia0 " CAPS "30 " CAPS "31 /dev/nvidia4\n"},
    };
    struct device mig_devices[] = {
        {.uuid = "MIG-a",
         .kind = DEVICE_MIG,
         .minor = 0,
         .gi_minor = 30,
         .ci_minor = 31,
         .profile = "1g.5gb"},
        {.uuid = "MIG-b",
         .kind = DEVICE_MIG,
         .mig_index = 1,
         .minor = 0,
         .gi_minor = -1,
         .ci_minor = -1,
         .profile = "2g.10gb"},
    };

    (void)state;
    for (size_t row = 0; row < ARRAY_SIZE(rows); row++) {
        cleanup_text struct text text = TEXT_INIT;
        struct inventory inventory;
        struct world world;
        json_t *spec;

        make_world(&world, rows[row].plugin);
        inventory = world.offer->inventory; /* borrowed for a moment */
        inventory.mig_devices = mig_devices;
        inventory.n_mig_devices = ARRAY_SIZE(mig_devices);
        world.config->policy.mig_strategy = MIG_STRATEGY_MIXED;
        plan_free(world.offer->plan);
        assert_int_equal(plan_make(&inventory, &world.config->policy, NULL, &world.offer->plan), 0);
        spec = load(&world);
        describe(spec, &text);
        assert_string_equal(text_string(&text), rows[row].expected);
        json_decref(spec);
        drop_world(&world);
    }
}

/* Containers of pods that hold a GPU restart after it was excluded, or its MPS daemon went. */
static void a_gpu_that_is_not_offered_stays(void **state)
{
    static const struct {
        const char *yaml; /* in place of none */
        bool broken;      /* GPU 0 */
        const char *expected;
    } rows[] = {
        {"gpuslice: {excludeDevices: [0]}\n", false, UUID_0 " " UUID_1 " all "},
        {"gpuslice: {excludeDevices: [0, 1]}\n", false, UUID_0 " " UUID_1 " all "},
        {"gpuslice: {excludeDevices: [0, 1]}\n", true, UUID_1 " all "},
        {"sharing: {mps: {resources: [{name: nvidia.com/gpu, replicas: 2}]}}\n", false,
         UUID_0 " " UUID_1 " all "},
        {"sharing: {mps: {resources: [{name: nvidia.com/gpu, replicas: 2}]}}\n", true,
         UUID_1 " all "},
        {"gpuslice: {isolation: cooperative, slices: [{name: half, share: 50%}]}\n", false,
         UUID_0 " " UUID_1 " all "},
    };

    (void)state;
    for (size_t row = 0; row < ARRAY_SIZE(rows); row++) {
        cleanup_text struct text text = TEXT_INIT;
        struct error err = ERROR_INIT;
        struct inventory inventory;
        struct config *config;
        struct world world;
        const json_t *device;
        json_t *spec;
        size_t i;

        make_world(&world, "");
        assert_int_equal(
            config_parse(rows[row].yaml, strlen(rows[row].yaml),
                         &(struct config_request){.source = "test", .strictness = CONFIG_AGENT},
                         NULL, &config, &err),
            0);
        inventory = world.offer->inventory; /* borrowed for a moment */
        if (rows[row].broken)
            strcpy(inventory.gpus[0].unusable, "it is lost");
        plan_free(world.offer->plan);
        assert_int_equal(plan_make(&inventory, &config->policy, NULL, &world.offer->plan), 0);
        assert_string_not_equal(world.offer->plan->devices[0].left_out, "");
        spec = load(&world);
        json_array_foreach(json_object_get(spec, "devices"), i, device)
        {
            text_addf(&text, "%s ", json_string_value(json_object_get(device, "name")));
        }
        assert_string_equal(text_string(&text), rows[row].expected);
        json_decref(spec);
        config_free(config);
        drop_world(&world);
    }
}

static void no_device_no_file(void **state)
{
    struct world world;
    char path[256];

    (void)state;
    make_world_with(&world, "", -1, -1);
    assert_null(load_class(&world, "imex-channel"));
    cdi_path(&world, "gpu", path, sizeof(path));
    assert_int_equal(access(path, F_OK), -1);
    drop_world(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spec_names_what_the_driver_installed),
        cmocka_unit_test(hooks_as_the_program_calls_them),
        cmocka_unit_test(hooks_that_the_program_lacks_are_left_out),
        cmocka_unit_test(nodes_of_every_class),
        cmocka_unit_test(devices_are_named_by_the_id_strategy),
        cmocka_unit_test(written_and_removed),
        cmocka_unit_test(gpu_without_a_node_is_left_out),
        cmocka_unit_test(mig_devices_have_their_capabilities),
        cmocka_unit_test(a_gpu_that_is_not_offered_stays),
        cmocka_unit_test(no_device_no_file),
    };

    return cmocka_run_group_tests_name("plugin/cdi", tests, NULL, NULL);
}
