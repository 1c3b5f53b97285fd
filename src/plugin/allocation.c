// SPDX-License-Identifier: Apache-2.0
#include "plugin/allocation.h"

#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>

#include "base/array.h"
#include "base/driverroot.h"
#include "base/text.h"
#include "plugin/cdi.h"
#include "plugin/driverfiles.h"
#include "rpc/message.h"

/* Names agreed on by libnvidia-container and the CDI specs of NVIDIA's plugin. */
#define VISIBLE_DEVICES_FOLDER "/var/run/nvidia-container-devices"
#define IMEX_CHANNEL_PREFIX    "/dev/nvidia-caps-imex-channels/channel"

enum { ANSWER_MAX = 4096 }; /* far more than one container can use: envs, mounts or devices each */

DEFINE_MESSAGE_CLEANUP(v1beta1_ContainerAllocateResponse)

/* One device behind the ids, from the current plan or the previous one. */
struct given {
    const struct device *device;
    unsigned gpu_index;
};

/* The devices behind the ids, each once, in the order of the request. */
struct devices {
    struct given *items;
    size_t n_items, capacity;
    size_t n_shared; /* slices smaller than a whole device, of one device or several */
    bool mps;        /* one of the devices uses MPS */
};

static void devices_deinit(struct devices *devices)
{
    free(devices->items);
}

/* One response under construction; the first failed addition sticks. */
struct builder {
    const struct offer *offer;
    const struct plan_resource *resource;
    struct devices devices;
    struct driverroot root;
    v1beta1_ContainerAllocateResponse *answer;
    bool failed;
};

/* Appends a zeroed entry to one of the response's nanopb arrays (pb_size_t count, exact size). */
static void *append(struct builder *builder, void *items_p, pb_size_t *count, size_t item_size)
{
    char *items;

    memcpy(&items, items_p, sizeof(items));
    if (*count == ANSWER_MAX || !(items = reallocarray(items, (size_t)*count + 1, item_size))) {
        builder->failed = true;
        return NULL;
    }
    memcpy(items_p, &items, sizeof(items));
    memset(items + *count * item_size, 0, item_size);
    return items + (*count)++ * item_size;
}

static char *copy(struct builder *builder, const char *string)
{
    char *owned = string ? strdup(string) : NULL;

    builder->failed |= !owned;
    return owned;
}

static void add_env(struct builder *builder, const char *key, const char *value)
{
    v1beta1_ContainerAllocateResponse *answer = builder->answer;
    v1beta1_ContainerAllocateResponse_EnvsEntry *entry = NULL;

    for (pb_size_t i = 0; i < answer->envs_count && !entry; i++)
        if (answer->envs[i].key && str_equal(answer->envs[i].key, key))
            entry = &answer->envs[i]; /* a later strategy overrides */
    if (entry) {
        free(entry->value);
    } else {
        entry = append(builder, &answer->envs, &answer->envs_count, sizeof(*entry));
        if (!entry)
            return;
        entry->key = copy(builder, key);
    }
    entry->value = copy(builder, value);
}

static void add_mount(struct builder *builder, const char *host, const char *container)
{
    v1beta1_Mount *mount =
        append(builder, &builder->answer->mounts, &builder->answer->mounts_count, sizeof(*mount));

    if (!mount)
        return;
    mount->host_path = copy(builder, host);
    mount->container_path = copy(builder, container);
}

static void add_device(struct builder *builder, const char *host, const char *container)
{
    v1beta1_DeviceSpec *device = append(builder, &builder->answer->devices,
                                        &builder->answer->devices_count, sizeof(*device));

    if (!device)
        return;
    device->host_path = copy(builder, host);
    device->container_path = copy(builder, container);
    device->permissions = copy(builder, "rw");
}

static void device_name(const struct builder *builder, const struct given *given, char *name,
                        size_t size)
{
    if (builder->offer->config->plugin.device_id_strategy == DEVICE_ID_INDEX)
        device_format_index(given->device, given->gpu_index, name, size);
    else
        snprintf(name, size, "%s", given->device->uuid);
}

static bool imex_channel_exists(const struct builder *builder, int64_t channel)
{
    char path[96];

    snprintf(path, sizeof(path), IMEX_CHANNEL_PREFIX "%" PRId64, channel);
    return driverroot_has_node(&builder->root, path);
}

/* Runs `each` for every IMEX channel that is configured and present on this node. */
static void each_imex_channel(struct builder *builder,
                              void (*each)(struct builder *, int64_t, struct text *),
                              struct text *data)
{
    const struct config *config = builder->offer->config;

    for (size_t i = 0; i < config->n_imex_channel_ids; i++)
        if (imex_channel_exists(builder, config->imex_channel_ids[i]))
            each(builder, config->imex_channel_ids[i], data);
}

static void add_to_list(struct text *list, const char *item)
{
    if (list->length)
        text_add_char(list, ',');
    text_add(list, item);
}

/* --- CDI --- */

static void add_cdi_name(struct builder *builder, struct text *list, const char *class,
                         const char *device)
{
    const unsigned strategies = builder->offer->config->plugin.device_list_strategies;
    char name[GPU_UUID_SIZE + 64];

    snprintf(name, sizeof(name), CDI_VENDOR "/%s=%s", class, device);
    add_to_list(list, name);
    if (strategies & LIST_STRATEGY_CDI_CRI) {
        v1beta1_CDIDevice *cdi = append(builder, &builder->answer->cdi_devices,
                                        &builder->answer->cdi_devices_count, sizeof(*cdi));
        if (cdi)
            cdi->name = copy(builder, name);
    }
}

static void add_cdi_channel(struct builder *builder, int64_t channel, struct text *list)
{
    char id[24];

    snprintf(id, sizeof(id), "%" PRId64, channel);
    add_cdi_name(builder, list, "imex-channel", id);
}

/* The annotation's key must be unique per container, so it ends in a random UUID. */
static void add_cdi_annotation(struct builder *builder, const struct text *list)
{
    v1beta1_ContainerAllocateResponse_AnnotationsEntry *entry;
    unsigned char r[16] = {0};
    char *key = NULL;

    if (getrandom(r, sizeof(r), GRND_NONBLOCK) != sizeof(r)) {
        builder->failed = true;
        return;
    }
    r[6] = (unsigned char)(0x40 | (r[6] & 0x0f));
    r[8] = (unsigned char)(0x80 | (r[8] & 0x3f));
    entry = append(builder, &builder->answer->annotations, &builder->answer->annotations_count,
                   sizeof(*entry));
    if (!entry)
        return;
    if (asprintf(&key,
                 "%snvidia-device-plugin_%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-"
                 "%02x%02x%02x%02x%02x%02x",
                 builder->offer->config->plugin.cdi_annotation_prefix, r[0], r[1], r[2], r[3], r[4],
                 r[5], r[6], r[7], r[8], r[9], r[10], r[11], r[12], r[13], r[14], r[15]) < 0)
        key = NULL;
    entry->key = key;
    entry->value = copy(builder, text_string(list));
    builder->failed |= !key;
}

static void add_cdi(struct builder *builder)
{
    const struct config *config = builder->offer->config;
    const struct {
        bool enabled;
        const char *class;
    } extras[] = {
        {config->gdrcopy_enabled, "gdrcopy"},
        {config->gds_enabled, "gds"},
        {config->mofed_enabled, "mofed"},
    };
    cleanup_text struct text list = TEXT_INIT;

    for (size_t i = 0; i < builder->devices.n_items; i++) {
        const struct given *given = &builder->devices.items[i];
        char name[GPU_UUID_SIZE];

        if (cdi_name_device(config, given->device, given->gpu_index, name))
            add_cdi_name(builder, &list, "gpu", name);
    }
    each_imex_channel(builder, add_cdi_channel, &list);
    for (size_t i = 0; i < ARRAY_SIZE(extras); i++)
        if (extras[i].enabled)
            add_cdi_name(builder, &list, extras[i].class, "all");
    if (list.length && config->plugin.device_list_strategies & LIST_STRATEGY_CDI_ANNOTATIONS)
        add_cdi_annotation(builder, &list);
}

/* --- MPS, features --- */

static void add_mps(struct builder *builder)
{
    const char *root = builder->offer->config->mps_root;
    cleanup_text struct text host = TEXT_INIT, container = TEXT_INIT;

    root = root && *root ? root : "/run/nvidia/mps";
    text_addf(&host, "%s/%s/pipe", root, builder->resource->name);
    text_addf(&container, "/mps/%s/pipe", builder->resource->name);
    add_env(builder, "CUDA_MPS_PIPE_DIRECTORY", text_string(&container));
    add_mount(builder, text_string(&host), text_string(&container));
    text_clear(&host);
    text_addf(&host, "%s/shm", root);
    add_mount(builder, text_string(&host), "/dev/shm");
}

static void add_features(struct builder *builder)
{
    const struct config *config = builder->offer->config;

    if (config->gdrcopy_enabled)
        add_env(builder, "NVIDIA_GDRCOPY", "enabled");
    if (config->gds_enabled)
        add_env(builder, "NVIDIA_GDS", "enabled");
    if (config->mofed_enabled)
        add_env(builder, "NVIDIA_MOFED", "enabled");
}

/* --- environment, mounts, device nodes --- */

static void list_channel(struct builder *builder, int64_t channel, struct text *list)
{
    char id[24];

    (void)builder;
    snprintf(id, sizeof(id), "%" PRId64, channel);
    add_to_list(list, id);
}

static void add_environment(struct builder *builder)
{
    cleanup_text struct text list = TEXT_INIT, channels = TEXT_INIT;

    for (size_t i = 0; i < builder->devices.n_items; i++) {
        char name[GPU_UUID_SIZE];

        device_name(builder, &builder->devices.items[i], name, sizeof(name));
        add_to_list(&list, name);
    }
    add_env(builder, "NVIDIA_VISIBLE_DEVICES", text_string(&list));
    each_imex_channel(builder, list_channel, &channels);
    if (channels.length)
        add_env(builder, "NVIDIA_IMEX_CHANNELS", text_string(&channels));
}

static void mount_channel(struct builder *builder, int64_t channel, struct text *unused)
{
    char path[128];

    (void)unused;
    snprintf(path, sizeof(path), VISIBLE_DEVICES_FOLDER "/imex/%" PRId64, channel);
    add_mount(builder, "/dev/null", path);
}

static void add_volume_mounts(struct builder *builder)
{
    add_env(builder, "NVIDIA_VISIBLE_DEVICES", VISIBLE_DEVICES_FOLDER);
    for (size_t i = 0; i < builder->devices.n_items; i++) {
        char name[GPU_UUID_SIZE], path[GPU_UUID_SIZE + 64];

        device_name(builder, &builder->devices.items[i], name, sizeof(name));
        snprintf(path, sizeof(path), VISIBLE_DEVICES_FOLDER "/%s", name);
        add_mount(builder, "/dev/null", path);
    }
    each_imex_channel(builder, mount_channel, NULL);
}

static bool is_added(const struct builder *builder, const char *container)
{
    const v1beta1_ContainerAllocateResponse *answer = builder->answer;

    for (pb_size_t i = 0; i < answer->devices_count; i++)
        if (answer->devices[i].container_path &&
            str_equal(answer->devices[i].container_path, container))
            return true;
    return false;
}

/* MIG devices of one GPU share its device node, which is listed once. */
static void spec_node(struct builder *builder, const char *path)
{
    char host[PATH_MAX];

    if (is_added(builder, path))
        return;
    driverroot_name_node(&builder->root, path, host);
    add_device(builder, host, path);
}

static void spec_channel(struct builder *builder, int64_t channel, struct text *unused)
{
    char path[96];

    (void)unused;
    snprintf(path, sizeof(path), IMEX_CHANNEL_PREFIX "%" PRId64, channel);
    spec_node(builder, path);
}

static void spec_device(struct builder *builder, const struct device *device)
{
    char paths[DEVICE_NODES_MAX][DEVICE_NODE_SIZE];
    size_t n = device_list_nodes(device, paths);

    for (size_t i = 0; i < n; i++)
        spec_node(builder, paths[i]);
}

static void add_device_specs(struct builder *builder)
{
    for (size_t i = 0; i < DRIVERFILES_CONTROL_NODES; i++)
        if (driverroot_has_node(&builder->root, driverfiles_control_nodes[i]))
            spec_node(builder, driverfiles_control_nodes[i]);
    for (size_t i = 0; i < builder->devices.n_items; i++)
        spec_device(builder, builder->devices.items[i].device);
    each_imex_channel(builder, spec_channel, NULL);
}

static void build(struct builder *builder)
{
    const struct config *config = builder->offer->config;
    const struct plugin_flags *plugin = &config->plugin;
    const unsigned strategies = plugin->device_list_strategies;
    const unsigned cdi = LIST_STRATEGIES_CDI;

    /* Nothing else is looked for, and every pod waits for this answer. */
    if (plugin->pass_device_specs || config->n_imex_channel_ids)
        driverroot_init(&builder->root, plugin->container_driver_root, config->driver_root,
                        config->dev_root);
    if (strategies & cdi)
        add_cdi(builder);
    if (builder->devices.mps)
        add_mps(builder);
    add_features(builder);
    if (!(strategies & ~cdi))
        return; /* the runtime takes everything from the CDI spec, device nodes included */
    if (strategies & LIST_STRATEGY_ENVVAR)
        add_environment(builder);
    if (strategies & LIST_STRATEGY_VOLUME_MOUNTS)
        add_volume_mounts(builder);
    if (plugin->pass_device_specs)
        add_device_specs(builder);
}

/* --- from ids to devices --- */

static int add_given(struct devices *devices, const struct plan *plan, const struct plan_device *on)
{
    struct given *given;

    for (size_t i = 0; i < devices->n_items; i++)
        if (str_equal(devices->items[i].device->uuid, on->device.uuid))
            return 0; /* two replicas of one device are one device to the container */
    given = array_push(&devices->items, &devices->n_items, &devices->capacity, sizeof(*given));
    if (!given)
        return -ENOMEM;
    *given = (struct given){&on->device, plan_gpu(plan, on)->index};
    return 0;
}

/* The device of an id. One resource may have whole devices and slices, so its device determines the
 * sharing. */
static const struct plan_device *find_device(const struct offer *offer, const char *resource,
                                             const char *id)
{
    const struct plan_resource *found = offer ? plan_find_resource(offer->plan, resource) : NULL;
    const struct slice *slice = found ? plan_find(found, id) : NULL;

    return slice ? &offer->plan->devices[slice->device] : NULL;
}

/* The kubelet chose it before it read that the device has changed its name: two pods would share
 * it. */
static int check_name(const struct offer *offer, const char *resource, const struct device *device,
                      struct error *err)
{
    const struct plan_resource *now;
    size_t i = 0;

    while (i < offer->plan->n_devices &&
           !str_equal(offer->plan->devices[i].device.uuid, device->uuid))
        i++;
    if (i == offer->plan->n_devices || !*offer->plan->devices[i].second)
        return 0;
    now = offer_resource_of(offer, i);
    if (now && str_equal(now->name, resource))
        return 0;
    error_set(err, -EBUSY,
              "%s cannot be given to a container as %s: it is offered as %s now, and "
              "gpuslice.mig.names: both offers each device under one name at a time",
              device->uuid, resource, now ? now->name : "neither of its names for a moment");
    return ALLOCATION_OTHER_NAME;
}

static int collect(struct devices *devices, const struct offer *offer, const struct offer *earlier,
                   const char *resource, char *const *ids, size_t n_ids, struct error *err)
{
    for (size_t i = 0; i < n_ids; i++) {
        const struct offer *from = offer;
        char name[DEVICE_NAME_SIZE];
        const char *why;
        int r;
        const struct plan_device *on = find_device(from, resource, message_text(ids[i]));

        if (!on) {
            from = earlier;
            on = find_device(from, resource, message_text(ids[i]));
        }
        if (!on) {
            error_set(err, -ENODEV, "%s has no device with the id \"%s\"", resource,
                      message_text(ids[i]));
            return ALLOCATION_UNKNOWN_DEVICE;
        }
        why = offer_withholds(offer, &on->device);
        if (why) {
            error_set(err, -EBUSY, "%s (%s) cannot be given to a container: %s",
                      plan_device_name(from->plan, on, name), on->device.uuid, why);
            return ALLOCATION_WITHHELD;
        }
        r = check_name(offer, resource, &on->device, err);
        if (r == 0)
            r = add_given(devices, from->plan, on);
        if (r != 0)
            return r;
        devices->n_shared += on->sharing != SHARING_NONE;
        devices->mps |= on->sharing == SHARING_MPS;
    }
    return 0;
}

int allocation_answer(const struct offer *offer, const struct offer *earlier, const char *resource,
                      char *const *ids, size_t n_ids, v1beta1_ContainerAllocateResponse *ret_answer,
                      struct error *err)
{
    cleanup(v1beta1_ContainerAllocateResponse_release_p) v1beta1_ContainerAllocateResponse answer =
        v1beta1_ContainerAllocateResponse_init_zero;
    cleanup(devices_deinit) struct devices devices = {.items = NULL};
    const struct plan_resource *current = plan_find_resource(offer->plan, resource);
    struct builder builder = {.offer = offer, .resource = current, .answer = &answer};
    int r;

    if (!current) { /* withdrawn a moment ago: respond as it was announced */
        current = earlier ? plan_find_resource(earlier->plan, resource) : NULL;
        builder.resource = current;
        if (!current) {
            error_set(err, -ENODEV, "the resource %s is no longer offered", resource);
            return ALLOCATION_UNKNOWN_DEVICE;
        }
    }
    r = collect(&devices, offer, earlier, resource, ids, n_ids, err);
    if (r != 0)
        return r;
    if (current->fail_multi && devices.n_shared > 1) {
        error_set(
            err, -EINVAL,
            "%s is shared and allows 1 slice per container, not %zu (failRequestsGreaterThanOne)",
            resource, devices.n_shared);
        return ALLOCATION_TOO_MANY;
    }
    if (offer->config->policy.unique && n_ids > devices.n_items) {
        error_set(err, -EINVAL,
                  "the %zu slices of %s that the kubelet chose are on %zu GPU%s, and "
                  "gpuslice.unique wants each on a GPU of its own",
                  n_ids, resource, devices.n_items, devices.n_items == 1 ? "" : "s");
        return ALLOCATION_NOT_UNIQUE;
    }
    builder.devices = devices;
    build(&builder);
    if (builder.failed)
        return -ENOMEM;
    *ret_answer = answer;
    answer = (v1beta1_ContainerAllocateResponse)v1beta1_ContainerAllocateResponse_init_zero;
    return 0;
}
