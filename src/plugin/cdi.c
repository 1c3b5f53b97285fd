// SPDX-License-Identifier: Apache-2.0
#include "plugin/cdi.h"

#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>

#include "base/array.h"
#include "base/file.h"
#include "base/text.h"

/* Loaders reject a version below what the fields need; 0.5.0 introduced hostPath and names like
 * "0". */
#define CDI_VERSION "0.5.0"

static const char *const control_nodes[] = {"/dev/nvidiactl", "/dev/nvidia-uvm",
                                            "/dev/nvidia-uvm-tools", "/dev/nvidia-modeset"};

static const char *const library_folders[] = {
    "/usr/lib64",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/local/nvidia/lib64",
    "/lib64",
    "/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
};

static const char *const tools[] = {
    "/usr/bin/nvidia-smi",
    "/usr/bin/nvidia-debugdump",
    "/usr/bin/nvidia-persistenced",
    "/usr/bin/nvidia-cuda-mps-control",
    "/usr/bin/nvidia-cuda-mps-server",
};

static void json_release(json_t **json)
{
    json_decref(*json);
}

/* The root of the node's files as we see it, and as the runtime on the host sees it. */
struct roots {
    const char *ours, *host;
    const char *dev;
};

static const char *as_prefix(const char *root)
{
    return !root || str_equal(root, "/") ? "" : root;
}

static struct roots find_roots(const struct config *config)
{
    const char *container = config->plugin.container_driver_root;
    struct roots roots = {.host = as_prefix(config->driver_root),
                          .dev = as_prefix(config->dev_root)};

    /* Outside of a container there is no /driver-root, and the host's own paths apply. */
    roots.ours = container && access(container, F_OK) == 0 ? as_prefix(container) : roots.host;
    return roots;
}

bool cdi_is_wanted(const struct config *config)
{
    return config->plugin.device_list_strategies &
           (LIST_STRATEGY_CDI_ANNOTATIONS | LIST_STRATEGY_CDI_CRI);
}

/* --- the parts of containerEdits; jansson's *_new functions take NULL values as failures --- */

static json_t *node_json(const struct roots *roots, const char *path)
{
    char host[PATH_MAX];

    snprintf(host, sizeof(host), "%s%s", roots->dev, path);
    if (str_equal(host, path))
        return json_pack("{s:s}", "path", path);
    return json_pack("{s:s, s:s}", "path", path, "hostPath", host);
}

/* Adds the device nodes that this host has; `pattern` is glob(3)'s. */
static int add_nodes(json_t *nodes, const struct roots *roots, const char *pattern)
{
    char path[PATH_MAX];
    glob_t found;
    int r;

    snprintf(path, sizeof(path), "%s%s", roots->dev, pattern);
    r = glob(path, 0, NULL, &found);
    if (r != 0)
        return r == GLOB_NOSPACE ? -ENOMEM : 0;
    for (size_t i = 0; r == 0 && i < found.gl_pathc; i++)
        r = json_array_append_new(nodes, node_json(roots, found.gl_pathv[i] + strlen(roots->dev)));
    globfree(&found);
    return r;
}

static int add_mount(json_t *mounts, const struct roots *roots, const char *path)
{
    char host[PATH_MAX];

    snprintf(host, sizeof(host), "%s%s", roots->host, path);
    return json_array_append_new(mounts, json_pack("{s:s, s:s, s:[s,s,s,s]}", "hostPath", host,
                                                   "containerPath", path, "options", "ro", "nosuid",
                                                   "nodev", "bind"));
}

static int add_mount_if_there(json_t *mounts, const struct roots *roots, const char *path)
{
    char ours[PATH_MAX];

    snprintf(ours, sizeof(ours), "%s%s", roots->ours, path);
    return access(ours, F_OK) == 0 ? add_mount(mounts, roots, path) : 0;
}

static int is_library(const struct dirent *entry, const char *suffix)
{
    return str_starts_with(entry->d_name, "lib") && str_ends_with(entry->d_name, suffix);
}

/* Adds the driver's libraries of one directory, sorted by name. */
static int add_libraries(json_t *mounts, const struct roots *roots, const char *folder,
                         const char *suffix)
{
    char path[PATH_MAX];
    struct dirent **entries;
    int n, r = 0;

    snprintf(path, sizeof(path), "%s%s", roots->ours, folder);
    n = scandir(path, &entries, NULL, alphasort);
    if (n < 0)
        return 0; /* a directory that this distribution does not have */
    for (int i = 0; i < n; i++) {
        if (r == 0 && is_library(entries[i], suffix)) {
            snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name);
            r = add_mount(mounts, roots, path);
        }
        free(entries[i]);
    }
    free(entries);
    return r;
}

/* On merged-usr systems /lib64 is /usr/lib64: do not mount the same library twice. */
static bool is_alias(const struct roots *roots, const char *folder)
{
    char path[PATH_MAX], resolved[PATH_MAX], canonical[PATH_MAX];

    snprintf(path, sizeof(path), "%s/usr%s", roots->ours, folder);
    if (str_starts_with(folder, "/usr") || !realpath(path, canonical))
        return false;
    snprintf(path, sizeof(path), "%s%s", roots->ours, folder);
    return realpath(path, resolved) && str_equal(resolved, canonical);
}

static int add_driver(json_t *mounts, const struct roots *roots, const char *driver_version)
{
    char suffix[96];
    int r = 0;

    snprintf(suffix, sizeof(suffix), ".so.%s", driver_version);
    for (size_t i = 0; r == 0 && *driver_version && i < ARRAY_SIZE(library_folders); i++)
        if (!is_alias(roots, library_folders[i]))
            r = add_libraries(mounts, roots, library_folders[i], suffix);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(tools); i++)
        r = add_mount_if_there(mounts, roots, tools[i]);
    return r;
}

/* The container's ld.so cache must include the mounted libraries; NVIDIA's hook program updates
 * it. */
static json_t *hooks_json(const struct config *config, const json_t *mounts)
{
    const char *program = config->plugin.nvidia_cdi_hook_path;
    cleanup(json_release) json_t *args = json_array();
    const char *name = program ? strrchr(program, '/') : NULL;
    const json_t *mount;
    size_t i;
    int r = 0;

    if (!program || !*program || json_array_size(mounts) == 0)
        return json_array();
    name = name ? name + 1 : program;
    r |= json_array_append_new(args, json_string(name));
    if (str_equal(name, "nvidia-ctk")) /* the older program has the hooks under a verb */
        r |= json_array_append_new(args, json_string("hook"));
    r |= json_array_append_new(args, json_string("update-ldcache"));
    json_array_foreach(mounts, i, mount)
    {
        const char *path = json_string_value(json_object_get(mount, "containerPath"));
        const char *slash = strrchr(path, '/');
        char folder[PATH_MAX], last[PATH_MAX] = "";

        if (!strstr(path, ".so."))
            continue;
        snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path), path);
        snprintf(last, sizeof(last), "%s",
                 json_string_value(json_array_get(args, json_array_size(args) - 1)));
        if (str_equal(folder, last))
            continue;
        r |= json_array_append_new(args, json_string("--folder"));
        r |= json_array_append_new(args, json_string(folder));
    }
    if (r)
        return NULL;
    return json_pack("[{s:s, s:s, s:O}]", "hookName", "createContainer", "path", program, "args",
                     args);
}

/* An empty list is omitted. "void" keeps NVIDIA's own runtime from adding devices a second time. */
static json_t *edits_json(json_t *nodes, json_t *mounts, json_t *hooks)
{
    const struct {
        const char *name;
        json_t *list;
    } parts[] = {{"deviceNodes", nodes}, {"mounts", mounts}, {"hooks", hooks}};
    json_t *edits = json_pack("{s:[s]}", "env", "NVIDIA_VISIBLE_DEVICES=void");

    for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
        if (json_array_size(parts[i].list) > 0 &&
            json_object_set(edits, parts[i].name, parts[i].list) < 0) {
            json_decref(edits);
            return NULL;
        }
    return edits;
}

/* --- the devices of a class --- */

struct device_class {
    const char *name;
    int (*add)(json_t *devices, const struct offer *offer, const struct roots *roots,
               const struct device_class *class);
    /* of a feature: its switch in struct config, and its device nodes */
    size_t enabled;
    const char *nodes[2], *mounts[2];
};

static int add_device(json_t *devices, const char *name, json_t *edits)
{
    return json_array_append_new(devices,
                                 json_pack("{s:s, s:o}", "name", name, "containerEdits", edits));
}

static int add_one_node(json_t *devices, const char *name, json_t *node)
{
    return add_device(devices, name, json_pack("{s:[o]}", "deviceNodes", node));
}

static bool has_path(const json_t *nodes, const char *path)
{
    const json_t *node;
    size_t i;

    json_array_foreach(nodes, i, node)
    {
        if (str_equal(json_string_value(json_object_get(node, "path")), path))
            return true;
    }
    return false;
}

/* One device of the plan, whose nodes are added to those of `all`. A device without edits makes
 * runtimes reject the whole file, so one without a node is left out. */
static int add_planned(json_t *devices, json_t *all, const struct offer *offer,
                       const struct roots *roots, const struct plan_device *on)
{
    cleanup(json_release) json_t *nodes = json_array();
    char index[DEVICE_INDEX_SIZE], paths[DEVICE_NODES_MAX][DEVICE_NODE_SIZE];
    const bool by_index = offer->config->plugin.device_id_strategy == DEVICE_ID_INDEX;
    size_t n = device_list_nodes(&on->device, paths);
    int r = nodes ? 0 : -ENOMEM;

    if (r < 0 || n == 0)
        return r;
    device_format_index(&on->device, plan_gpu(offer->plan, on)->index, index, sizeof(index));
    for (size_t i = 0; i < n; i++) {
        r |= json_array_append_new(nodes, node_json(roots, paths[i]));
        if (!has_path(all, paths[i]))
            r |= json_array_append_new(all, node_json(roots, paths[i]));
    }
    return r ? r
             : add_device(devices, by_index ? index : on->device.uuid,
                          json_pack("{s:O}", "deviceNodes", nodes));
}

static int add_gpus(json_t *devices, const struct offer *offer, const struct roots *roots,
                    const struct device_class *class)
{
    cleanup(json_release) json_t *all = json_array();
    int r = all ? 0 : -ENOMEM;

    (void)class;
    for (size_t i = 0; r == 0 && i < offer->plan->n_devices; i++)
        if (!*offer->plan->devices[i].left_out)
            r = add_planned(devices, all, offer, roots, &offer->plan->devices[i]);
    if (r != 0 || json_array_size(all) == 0)
        return r;
    return add_device(devices, "all", json_pack("{s:O}", "deviceNodes", all));
}

/* Includes channels that do not exist yet: Allocate checks each time before it returns one. */
static int add_channels(json_t *devices, const struct offer *offer, const struct roots *roots,
                        const struct device_class *class)
{
    const struct config *config = offer->config;
    char id[24], path[96];
    int r = 0;

    (void)class;
    for (size_t i = 0; r == 0 && i < config->n_imex_channel_ids; i++) {
        snprintf(id, sizeof(id), "%" PRId64, config->imex_channel_ids[i]);
        snprintf(path, sizeof(path), "/dev/nvidia-caps-imex-channels/channel%s", id);
        r = add_one_node(devices, id, node_json(roots, path));
    }
    return r;
}

/* Allocate returns every feature that is switched on, so it is listed even if the node has none of
 * it. */
static int add_feature(json_t *devices, const struct offer *offer, const struct roots *roots,
                       const struct device_class *class)
{
    cleanup(json_release) json_t *nodes = json_array(), *mounts = json_array();
    int r = nodes && mounts ? 0 : -ENOMEM;

    if (!*(const bool *)((const char *)offer->config + class->enabled))
        return r;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(class->nodes) && class->nodes[i]; i++)
        r = add_nodes(nodes, roots, class->nodes[i]);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(class->mounts) && class->mounts[i]; i++)
        r = add_mount_if_there(mounts, roots, class->mounts[i]);
    return r ? r : add_device(devices, "all", edits_json(nodes, mounts, NULL));
}

#define SWITCH(member) .add = add_feature, .enabled = offsetof(struct config, member)
static const struct device_class classes[] = {
    {"gpu", add_gpus},
    {"imex-channel", add_channels},
    {"gdrcopy", SWITCH(gdrcopy_enabled), .nodes = {"/dev/gdrdrv"}},
    {"gds", SWITCH(gds_enabled), .nodes = {"/dev/nvidia-fs*"},
     .mounts = {"/run/udev", "/etc/cufile.json"}},
    {"mofed", SWITCH(mofed_enabled),
     .nodes = {"/dev/infiniband/uverbs*", "/dev/infiniband/rdma_cm"}},
};
#undef SWITCH

/* --- the specs --- */

/* What each container gets once, regardless of its number of devices: for a GPU, the driver. */
static json_t *common_json(const struct offer *offer, const struct roots *roots, bool is_gpu)
{
    cleanup(json_release) json_t *nodes = json_array(), *mounts = json_array(), *hooks = NULL;
    int r = nodes && mounts ? 0 : -ENOMEM;

    for (size_t i = 0; is_gpu && r == 0 && i < ARRAY_SIZE(control_nodes); i++)
        r = add_nodes(nodes, roots, control_nodes[i]);
    if (is_gpu && r == 0)
        r = add_driver(mounts, roots, offer->inventory.driver_version);
    if (r == 0)
        hooks = hooks_json(offer->config, mounts);
    return hooks ? edits_json(nodes, mounts, hooks) : NULL;
}

/* The spec's text, to be freed; "" if the node has no device of the class, since a spec needs
 * one. */
static char *format(const struct offer *offer, const struct device_class *class)
{
    const struct roots roots = find_roots(offer->config);
    cleanup(json_release) json_t *devices = json_array(), *spec = NULL;

    if (!devices || class->add(devices, offer, &roots, class) != 0)
        return NULL;
    if (json_array_size(devices) == 0)
        return strdup("");
    spec = json_pack("{s:s, s:s+, s:O, s:o}", "cdiVersion", CDI_VERSION, "kind", CDI_VENDOR "/",
                     class->name, "devices", devices, "containerEdits",
                     common_json(offer, &roots, class->add == add_gpus));
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
