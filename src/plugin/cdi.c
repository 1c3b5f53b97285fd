// SPDX-License-Identifier: Apache-2.0
#include "plugin/cdi.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>

#include "base/array.h"
#include "base/file.h"
#include "base/text.h"
#include "plugin/cdihooks.h"
#include "plugin/driverfiles.h"

/* Loaders reject a version below what the fields need; 0.5.0 introduced hostPath and names like
 * "0". */
#define CDI_VERSION "0.5.0"

static void json_release(json_t **json)
{
    json_decref(*json);
}

bool cdi_is_wanted(const struct config *config)
{
    return config->plugin.device_list_strategies &
           (LIST_STRATEGY_CDI_ANNOTATIONS | LIST_STRATEGY_CDI_CRI);
}

/* --- containerEdits; jansson's *_new functions take NULL values as failures --- */

/* Under construction, for a device or for all of a class. */
struct edits {
    const struct driverroot *root;
    json_t *nodes, *mounts;
    json_t *links, *folders; /* arguments of the hooks that make links and the ld.so cache */
};

static void edits_deinit(struct edits *edits)
{
    json_decref(edits->nodes);
    json_decref(edits->mounts);
    json_decref(edits->links);
    json_decref(edits->folders);
}

static int edits_init(struct edits *edits, const struct driverroot *root)
{
    *edits = (struct edits){root, json_array(), json_array(), json_array(), json_array()};
    return edits->nodes && edits->mounts && edits->links && edits->folders ? 0 : -ENOMEM;
}

#define cleanup_edits cleanup(edits_deinit)

static bool has(const json_t *list, const char *key, const char *value)
{
    const json_t *item;
    size_t i;

    json_array_foreach(list, i, item)
    {
        if (str_equal(json_string_value(json_object_get(item, key)), value))
            return true;
    }
    return false;
}

static int add_node(const char *path, void *userdata)
{
    struct edits *edits = userdata;
    char host[PATH_MAX];

    if (has(edits->nodes, "path", path))
        return 0;
    driverroot_name_node(edits->root, path, host);
    return json_array_append_new(edits->nodes,
                                 str_equal(host, path)
                                     ? json_pack("{s:s}", "path", path)
                                     : json_pack("{s:s, s:s}", "path", path, "hostPath", host));
}

/* Two arguments, `option` and `value`, unless the list has that value. */
static int add_argument(json_t *arguments, const char *option, const char *value)
{
    const json_t *item;
    size_t i;

    json_array_foreach(arguments, i, item)
    {
        if (str_equal(json_string_value(item), value))
            return 0;
    }
    return json_array_append_new(arguments, json_string(option)) |
           json_array_append_new(arguments, json_string(value));
}

static int add_link(const struct driverlink *link, void *userdata)
{
    struct edits *edits = userdata;
    cleanup_text struct text value = TEXT_INIT;

    text_addf(&value, "%s::%s", link->target, link->path);
    return add_argument(edits->links, "--link", text_string(&value));
}

static int add_library(struct edits *edits, const char *path)
{
    char folder[PATH_MAX];

    snprintf(folder, sizeof(folder), "%.*s", (int)(strrchr(path, '/') - path), path);
    return add_argument(edits->folders, "--folder", folder);
}

/* On merged-usr systems /lib64 is /usr/lib64: the same library is not mounted twice. */
static bool is_mounted(const struct edits *edits, const struct driverfile *file)
{
    return has(edits->mounts, "containerPath", file->container) ||
           (file->kind == DRIVERFILE_LIBRARY && has(edits->mounts, "hostPath", file->host));
}

static int add_file(const struct driverfile *file, void *userdata)
{
    struct edits *edits = userdata;
    const char *write = file->kind == DRIVERFILE_SOCKET ? "noexec" : "ro";
    int r;

    if (is_mounted(edits, file))
        return 0;
    r = json_array_append_new(
        edits->mounts, json_pack("{s:s, s:s, s:[s,s,s,s]}", "hostPath", file->host, "containerPath",
                                 file->container, "options", write, "nosuid", "nodev", "bind"));
    if (r == 0 && file->kind == DRIVERFILE_LIBRARY)
        r = add_library(edits, file->container);
    return r ? r : driverfiles_each_link(file->container, add_link, edits);
}

static int add_file_if_there(struct edits *edits, const char *path)
{
    struct driverroot_file found;

    if (!driverroot_find_file(edits->root, path, &found))
        return 0;
    return add_file(&(struct driverfile){DRIVERFILE_PLAIN, found.host, path}, edits);
}

/* --- hooks: calls of NVIDIA's program, by the runtime, before a container's own program runs ---
 */

static int add_hook(json_t *hooks, const struct offer *offer, unsigned hook, json_t *arguments)
{
    const unsigned left_out = offer->config->plugin.disabled_hooks | offer->missing_hooks;
    const char *program = offer->config->plugin.nvidia_cdi_hook_path;
    const char *slash = program ? strrchr(program, '/') : NULL;
    const char *name = slash ? slash + 1 : program;
    cleanup(json_release) json_t *all = NULL;

    if (!program || !*program || left_out & hook)
        return 0;
    /* The older program has the hooks under a verb. */
    all =
        str_equal(name, "nvidia-ctk") ? json_pack("[s, s]", name, "hook") : json_pack("[s]", name);
    if (!all || json_array_append_new(all, json_string(cdihooks_name(hook))) < 0 ||
        (arguments && json_array_extend(all, arguments) < 0))
        return -ENOMEM;
    return json_array_append_new(hooks, json_pack("{s:s, s:s, s:O}", "hookName", "createContainer",
                                                  "path", program, "args", all));
}

static int add_driver_hooks(json_t *hooks, const struct offer *offer, const struct edits *edits)
{
    const char *version = offer->inventory.driver_version;
    cleanup_text struct text option = TEXT_INIT;
    cleanup(json_release) json_t *arguments = NULL;

    text_addf(&option, "--host-driver-version=%s", version);
    arguments = *version ? json_pack("[s]", text_string(&option)) : json_array();
    return add_hook(hooks, offer, CDI_HOOK_COMPAT, arguments) |
           add_hook(hooks, offer, CDI_HOOK_LDCACHE, edits->folders) |
           add_hook(hooks, offer, CDI_HOOK_NO_NODES, NULL);
}

/* For the class, or for one of its devices. */
enum edits_scope { EDITS_CLASS, EDITS_DEVICE };

/* An empty list is omitted. "void" keeps NVIDIA's own runtime from adding devices a second time. */
static json_t *edits_json(const struct edits *edits, const struct offer *offer,
                          enum edits_scope scope)
{
    cleanup(json_release) json_t *hooks = json_array();
    const struct {
        const char *name;
        json_t *list;
    } parts[] = {{"deviceNodes", edits->nodes}, {"mounts", edits->mounts}, {"hooks", hooks}};
    json_t *json = scope == EDITS_CLASS ? json_pack("{s:[s]}", "env", "NVIDIA_VISIBLE_DEVICES=void")
                                        : json_object();
    int r = hooks ? 0 : -ENOMEM;

    if (r == 0 && json_array_size(edits->links))
        r = add_hook(hooks, offer, CDI_HOOK_LINKS, edits->links);
    if (r == 0 && json_array_size(edits->folders))
        r = add_driver_hooks(hooks, offer, edits);
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
        if (json_array_size(parts[i].list) > 0)
            r |= json_object_set(json, parts[i].name, parts[i].list);
    if (r == 0)
        return json;
    json_decref(json);
    return NULL;
}

/* --- the devices of a class --- */

struct device_class {
    const char *name;
    int (*add)(json_t *devices, const struct offer *offer, const struct driverroot *root,
               const struct device_class *class);
    /* of a feature: its switch in struct config, its device nodes, its files */
    size_t enabled;
    const char *nodes[2], *files[2];
};

static int add_device(json_t *devices, const char *name, json_t *edits)
{
    return json_array_append_new(devices,
                                 json_pack("{s:s, s:o}", "name", name, "containerEdits", edits));
}

static int add_dri_node(const char *path, const struct driverlink *link, void *userdata)
{
    int r = add_node(path, userdata);

    return r == 0 && link ? add_link(link, userdata) : r;
}

/* A MIG device cannot draw. */
static int add_nodes_of(struct edits *edits, const struct offer *offer,
                        const struct plan_device *on)
{
    char paths[DEVICE_NODES_MAX][DEVICE_NODE_SIZE];
    size_t n = device_list_nodes(&on->device, paths);
    int r = 0;

    for (size_t i = 0; r == 0 && i < n; i++)
        r = add_node(paths[i], edits);
    if (r != 0 || n == 0 || on->device.kind == DEVICE_MIG)
        return r;
    return driverfiles_each_dri_node(edits->root, plan_gpu(offer->plan, on)->pci_address,
                                     add_dri_node, edits);
}

bool cdi_name_device(const struct config *config, const struct device *device, unsigned gpu_index,
                     char ret_name[GPU_UUID_SIZE])
{
    if (!device_has_nodes(device))
        return false;
    if (config->plugin.device_id_strategy == DEVICE_ID_INDEX)
        device_format_index(device, gpu_index, ret_name, GPU_UUID_SIZE);
    else
        snprintf(ret_name, GPU_UUID_SIZE, "%s", device->uuid);
    return true;
}

/* One device of the plan, whose nodes are added to those of `all`. A device without edits makes
 * runtimes reject the whole file, so one without a node is left out. */
static int add_planned(json_t *devices, struct edits *all, const struct offer *offer,
                       const struct plan_device *on)
{
    cleanup_edits struct edits edits;
    char name[GPU_UUID_SIZE];
    int r = edits_init(&edits, all->root);

    if (r != 0 ||
        !cdi_name_device(offer->config, &on->device, plan_gpu(offer->plan, on)->index, name))
        return r;
    r = add_nodes_of(&edits, offer, on) | add_nodes_of(all, offer, on);
    return r ? r : add_device(devices, name, edits_json(&edits, offer, EDITS_DEVICE));
}

/* Also those that are not offered: pods that hold one keep it, and their containers restart. */
static int add_gpus(json_t *devices, const struct offer *offer, const struct driverroot *root,
                    const struct device_class *class)
{
    cleanup_edits struct edits all;
    int r = edits_init(&all, root);

    (void)class;
    for (size_t i = 0; r == 0 && i < offer->plan->n_devices; i++)
        if (offer->plan->devices[i].works)
            r = add_planned(devices, &all, offer, &offer->plan->devices[i]);
    if (r != 0 || json_array_size(all.nodes) == 0)
        return r;
    return add_device(devices, "all", edits_json(&all, offer, EDITS_DEVICE));
}

/* Includes channels that do not exist yet: Allocate checks each time before it returns one. */
static int add_channels(json_t *devices, const struct offer *offer, const struct driverroot *root,
                        const struct device_class *class)
{
    const struct config *config = offer->config;
    char id[24], path[96];
    int r = 0;

    (void)class;
    for (size_t i = 0; r == 0 && i < config->n_imex_channel_ids; i++) {
        cleanup_edits struct edits edits;

        snprintf(id, sizeof(id), "%" PRId64, config->imex_channel_ids[i]);
        snprintf(path, sizeof(path), "/dev/nvidia-caps-imex-channels/channel%s", id);
        r = edits_init(&edits, root);
        if (r == 0)
            r = add_node(path, &edits);
        if (r == 0)
            r = add_device(devices, id, edits_json(&edits, offer, EDITS_DEVICE));
    }
    return r;
}

/* Allocate returns every feature that is switched on, so it is listed even if the node has none of
 * it. */
static int add_feature(json_t *devices, const struct offer *offer, const struct driverroot *root,
                       const struct device_class *class)
{
    cleanup_edits struct edits edits;
    int r = edits_init(&edits, root);

    if (!*(const bool *)((const char *)offer->config + class->enabled))
        return r;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(class->nodes) && class->nodes[i]; i++)
        r = driverroot_each_node(root, class->nodes[i], add_node, &edits);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(class->files) && class->files[i]; i++)
        r = add_file_if_there(&edits, class->files[i]);
    return r ? r : add_device(devices, "all", edits_json(&edits, offer, EDITS_CLASS));
}

#define SWITCH(member) .add = add_feature, .enabled = offsetof(struct config, member)
static const struct device_class classes[] = {
    {"gpu", add_gpus},
    {"imex-channel", add_channels},
    {"gdrcopy", SWITCH(gdrcopy_enabled), .nodes = {"/dev/gdrdrv"}},
    {"gds", SWITCH(gds_enabled), .nodes = {"/dev/nvidia-fs*"},
     .files = {"/run/udev", "/etc/cufile.json"}},
    {"mofed", SWITCH(mofed_enabled),
     .nodes = {"/dev/infiniband/uverbs*", "/dev/infiniband/rdma_cm"}},
};
#undef SWITCH

/* --- the specs --- */

/* What each container gets once, regardless of its number of devices: for a GPU, the driver. */
static json_t *common_json(const struct offer *offer, const struct driverroot *root, bool is_gpu)
{
    cleanup_edits struct edits edits;
    int r = edits_init(&edits, root);

    for (size_t i = 0; is_gpu && r == 0 && i < DRIVERFILES_CONTROL_NODES; i++)
        r = driverroot_each_node(root, driverfiles_control_nodes[i], add_node, &edits);
    if (is_gpu && r == 0)
        r = driverfiles_each(root, offer->inventory.driver_version, add_file, &edits);
    return r == 0 ? edits_json(&edits, offer, EDITS_CLASS) : NULL;
}

/* The spec's text, to be freed; "" if the node has no device of the class, since a spec needs
 * one. */
static char *format(const struct offer *offer, const struct device_class *class)
{
    const struct config *config = offer->config;
    cleanup(json_release) json_t *devices = json_array(), *spec = NULL;
    struct driverroot root;

    driverroot_init(&root, config->plugin.container_driver_root, config->driver_root,
                    config->dev_root);
    if (!devices || class->add(devices, offer, &root, class) != 0)
        return NULL;
    if (json_array_size(devices) == 0)
        return strdup("");
    spec = json_pack("{s:s, s:s+, s:O, s:o}", "cdiVersion", CDI_VERSION, "kind", CDI_VENDOR "/",
                     class->name, "devices", devices, "containerEdits",
                     common_json(offer, &root, class->add == add_gpus));
    return spec ? json_dumps(spec, JSON_INDENT(2)) : NULL;
}

static void file_name(char *path, const char *folder, const struct device_class *class)
{
    snprintf(path, PATH_MAX, "%s/gpuslice-" CDI_VENDOR "-%s.json", folder, class->name);
}

int cdi_write(const char *folder, const struct offer *offer, struct error *err)
{
    int r = file_make_directory(folder, err);

    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(classes); i++) {
        cleanup_free char *text = format(offer, &classes[i]);
        char path[PATH_MAX];

        file_name(path, folder, &classes[i]);
        if (!text)
            r = error_set_errno(err, -ENOMEM, "cannot write %s", path);
        else if (*text)
            r = file_write_atomic(path, text, strlen(text), 0644, err);
        else
            unlink(path);
    }
    return r;
}

void cdi_remove(const char *folder)
{
    char path[PATH_MAX];

    for (size_t i = 0; i < ARRAY_SIZE(classes); i++) {
        file_name(path, folder, &classes[i]);
        unlink(path);
    }
}
