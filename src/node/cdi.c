// SPDX-License-Identifier: Apache-2.0
#include "node/cdi.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <string.h>

#include "base/array.h"
#include "base/file.h"
#include "base/text.h"

/* Loaders refuse a version below what the fields need; 0.5.0 brought hostPath and names like "0".
 */
#define CDI_VERSION   "0.5.0"
#define CDI_FILE_NAME "gpuslice-" CDI_VENDOR "-gpu.json"

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

/* Where the node's files are for us, and what the runtime on the host calls that place. */
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

    /* Outside of a container there is no /driver-root, and the host's own paths hold. */
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

static int add_gpu_node(json_t *nodes, const struct roots *roots, const struct gpu *gpu)
{
    char path[32];

    if (gpu->minor < 0)
        return 0;
    snprintf(path, sizeof(path), "/dev/nvidia%d", gpu->minor);
    return json_array_append_new(nodes, node_json(roots, path));
}

static int add_mount(json_t *mounts, const struct roots *roots, const char *path)
{
    char host[PATH_MAX];

    snprintf(host, sizeof(host), "%s%s", roots->host, path);
    return json_array_append_new(mounts, json_pack("{s:s, s:s, s:[s,s,s,s]}", "hostPath", host,
                                                   "containerPath", path, "options", "ro", "nosuid",
                                                   "nodev", "bind"));
}

static int is_library(const struct dirent *entry, const char *suffix)
{
    return str_starts_with(entry->d_name, "lib") && str_ends_with(entry->d_name, suffix);
}

/* Adds the driver's libraries of one folder, in the order of their names. */
static int add_libraries(json_t *mounts, const struct roots *roots, const char *folder,
                         const char *suffix)
{
    char path[PATH_MAX];
    struct dirent **entries;
    int n, r = 0;

    snprintf(path, sizeof(path), "%s%s", roots->ours, folder);
    n = scandir(path, &entries, NULL, alphasort);
    if (n < 0)
        return 0; /* a folder that this distribution does not have */
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

/* On merged-usr systems /lib64 is /usr/lib64: the same library must not be mounted twice. */
static bool is_alias(const struct roots *roots, const char *folder)
{
    char path[PATH_MAX], resolved[PATH_MAX], canonical[PATH_MAX];

    snprintf(path, sizeof(path), "%s/usr%s", roots->ours, folder);
    if (str_starts_with(folder, "/usr") || !realpath(path, canonical))
        return false;
    snprintf(path, sizeof(path), "%s%s", roots->ours, folder);
    return realpath(path, resolved) && str_equal(resolved, canonical);
}

static json_t *mounts_json(const struct roots *roots, const char *driver_version)
{
    json_t *mounts = json_array();
    char suffix[96], path[PATH_MAX];
    int r = mounts ? 0 : -1;

    snprintf(suffix, sizeof(suffix), ".so.%s", driver_version);
    for (size_t i = 0; r == 0 && *driver_version && i < ARRAY_SIZE(library_folders); i++)
        if (!is_alias(roots, library_folders[i]))
            r = add_libraries(mounts, roots, library_folders[i], suffix);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(tools); i++) {
        snprintf(path, sizeof(path), "%s%s", roots->ours, tools[i]);
        if (access(path, F_OK) == 0)
            r = add_mount(mounts, roots, tools[i]);
    }
    if (r == 0)
        return mounts;
    json_decref(mounts);
    return NULL;
}

/* The container's ld.so cache must learn the mounted libraries; NVIDIA's hook program does it. */
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
    if (str_equal(name, "nvidia-ctk")) /* the older program has the hooks below a verb */
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

static json_t *device_json(const char *name, json_t *nodes)
{
    return json_pack("{s:s, s:{s:o}}", "name", name, "containerEdits", "deviceNodes", nodes);
}

static int add_device(json_t *devices, json_t *all_nodes, const struct offer *offer,
                      const struct roots *roots, const struct gpu *gpu)
{
    char index[16];
    const char *name = gpu->uuid;
    json_t *nodes = json_array();

    snprintf(index, sizeof(index), "%u", gpu->index);
    if (offer->config->plugin.device_id_strategy == DEVICE_ID_INDEX)
        name = index;
    if (!nodes || add_gpu_node(nodes, roots, gpu) < 0 || add_gpu_node(all_nodes, roots, gpu) < 0) {
        json_decref(nodes);
        return -ENOMEM;
    }
    return json_array_append_new(devices, device_json(name, nodes));
}

static json_t *devices_json(const struct offer *offer, const struct roots *roots)
{
    json_t *devices = json_array(), *all_nodes = json_array();
    int r = devices && all_nodes ? 0 : -ENOMEM;

    for (size_t i = 0; r == 0 && i < offer->plan->n_gpus; i++)
        if (!*offer->plan->gpus[i].left_out)
            r = add_device(devices, all_nodes, offer, roots, &offer->plan->gpus[i].gpu);
    if (r == 0)
        r = json_array_append_new(devices, device_json("all", json_incref(all_nodes)));
    json_decref(all_nodes);
    if (r == 0)
        return devices;
    json_decref(devices);
    return NULL;
}

static json_t *common_nodes_json(const struct roots *roots)
{
    json_t *nodes = json_array();
    char path[PATH_MAX];

    for (size_t i = 0; nodes && i < ARRAY_SIZE(control_nodes); i++) {
        snprintf(path, sizeof(path), "%s%s", roots->dev, control_nodes[i]);
        if (access(path, F_OK) == 0)
            json_array_append_new(nodes, node_json(roots, control_nodes[i]));
    }
    return nodes;
}

char *cdi_format(const struct offer *offer)
{
    const struct roots roots = find_roots(offer->config);
    cleanup(json_release) json_t *mounts = mounts_json(&roots, offer->inventory.driver_version);
    cleanup(json_release) json_t *edits = NULL, *spec = NULL;
    static const char *const parts[] = {"deviceNodes", "mounts", "hooks"};

    if (!mounts)
        return NULL;
    /* "void" keeps NVIDIA's own runtime from adding devices a second time. */
    edits = json_pack("{s:[s], s:o, s:O, s:o}", "env", "NVIDIA_VISIBLE_DEVICES=void", "deviceNodes",
                      common_nodes_json(&roots), "mounts", mounts, "hooks",
                      hooks_json(offer->config, mounts));
    if (!edits)
        return NULL;
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
        if (json_array_size(json_object_get(edits, parts[i])) == 0)
            json_object_del(edits, parts[i]);
    spec = json_pack("{s:s, s:s, s:o, s:O}", "cdiVersion", CDI_VERSION, "kind", CDI_VENDOR "/gpu",
                     "devices", devices_json(offer, &roots), "containerEdits", edits);
    return spec ? json_dumps(spec, JSON_INDENT(2)) : NULL;
}

int cdi_write(const char *folder, const struct offer *offer, struct error *err)
{
    cleanup_free char *text = cdi_format(offer);
    char path[PATH_MAX];
    int r;

    if (!text)
        return error_set_errno(err, -ENOMEM, "cannot write the CDI spec");
    r = file_make_directory(folder, err);
    if (r < 0)
        return r;
    snprintf(path, sizeof(path), "%s/%s", folder, CDI_FILE_NAME);
    return file_write_atomic(path, text, strlen(text), 0644, err);
}

void cdi_remove(const char *folder)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/%s", folder, CDI_FILE_NAME);
    unlink(path);
}
