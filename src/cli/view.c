// SPDX-License-Identifier: Apache-2.0
#include "cli/view.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "cli/style.h"
#include "cli/table.h"
#include "slice/select.h"
#include "slice/unknown.h"

enum { MIB = 1 << 20, VIEW_MAX_WIDTH = 100 };

static json_t *resources_tree(const struct plan *plan)
{
    json_t *tree = json_object();

    for (size_t i = 0; i < plan->n_resources; i++)
        json_object_set_new(tree, plan->resources[i].name,
                            json_integer((json_int_t)plan->resources[i].n_slices));
    return tree;
}

static const char *const sharing_words[] = {
    [SHARING_NONE] = "none", [SHARING_TIME_SLICING] = "time slicing", [SHARING_MPS] = "MPS"};

static const char *per_container(const struct plan_resource *resource)
{
    return resource->fail_multi ? "one" : "any number";
}

/* The plan does not know whether the node has an arbiter that keeps a slice to its memory, and
 * gives it turns by its share; a device that is not shared needs no keeping. */
static bool is_advisory(const struct plan *plan, size_t device)
{
    return plan->devices[device].sharing != SHARING_NONE;
}

static json_t *sharing_tree(const struct plan *plan)
{
    json_t *tree = json_object();

    for (size_t i = 0; i < plan->n_resources; i++) {
        const struct plan_resource *resource = &plan->resources[i];

        json_object_set_new(tree, resource->name,
                            json_pack("{s:s, s:s, s:b}", "sharing",
                                      sharing_words[resource->sharing], "per_container",
                                      per_container(resource), "advisory",
                                      resource->sharing != SHARING_NONE));
    }
    return tree;
}

static json_t *driver_tree(const struct inventory *inventory)
{
    char cuda[24] = "";

    if (inventory->cuda_version)
        snprintf(cuda, sizeof(cuda), "%d.%d", inventory->cuda_version / 1000,
                 inventory->cuda_version % 1000 / 10);
    return json_pack("{s:s?, s:s?}", "version",
                     *inventory->driver_version ? inventory->driver_version : NULL, "cuda",
                     *cuda ? cuda : NULL);
}

/* On the Node, too, a label of the configuration takes the place of one of the same name. */
static json_t *labels_tree(const struct plan *plan, const struct config *config)
{
    json_t *tree = json_object();

    for (size_t i = 0; i < plan->n_labels; i++)
        json_object_set_new(tree, plan->labels[i].key, json_string(plan->labels[i].value));
    for (size_t i = 0; i < config->n_labels; i++)
        json_object_set_new(tree, config->labels[i].key, json_string(config->labels[i].value));
    return tree;
}

static const char *taint_value(const struct extra_taint *taint)
{
    return taint->value ? taint->value : "";
}

static json_t *taints_tree(const struct config *config)
{
    json_t *tree = json_array();

    for (size_t i = 0; i < config->n_taints; i++)
        json_array_append_new(tree, json_pack("{s:s, s:s, s:s}", "key", config->taints[i].key,
                                              "value", taint_value(&config->taints[i]), "effect",
                                              config->taints[i].effect));
    return tree;
}

/* Unknown memory is null, not none. */
static json_t *memory_tree(uint64_t bytes)
{
    return bytes ? json_integer((json_int_t)bytes) : json_null();
}

/* What the driver does not tell of a GPU, by name; NULL = nothing. */
static json_t *unknown_tree(const struct gpu *gpu)
{
    json_t *tree = NULL;

    for (unsigned fact = 0; fact < N_FACTS; fact++)
        if (gpu->gaps[fact]) {
            tree = tree ? tree : json_array();
            json_array_append_new(tree, json_string(unknown_fact_name((enum fact)fact)));
        }
    return tree;
}

static json_t *slices_tree(const struct plan *plan, size_t device)
{
    json_t *tree = json_array();

    for (size_t i = 0; i < plan->n_resources; i++)
        for (size_t j = 0; j < plan->resources[i].n_slices; j++) {
            const struct slice *slice = &plan->resources[i].slices[j];

            if (slice->device == device)
                json_array_append_new(tree, json_pack("{s:s, s:s, s:i, s:o, s:b}", "id", slice->id,
                                                      "resource", plan->resources[i].name,
                                                      "share_permille", (int)slice->share_permille,
                                                      "memory_bytes", memory_tree(slice->mem_bytes),
                                                      "advisory", is_advisory(plan, device)));
        }
    return tree;
}

/* The first device of a GPU; each GPU has at least one, and they are adjacent. */
static size_t find_first(const struct plan *plan, size_t gpu)
{
    size_t d = 0;

    while (plan->devices[d].device.gpu != gpu)
        d++;
    return d;
}

static json_t *mig_device_tree(const struct plan *plan, size_t d)
{
    const struct plan_device *on = &plan->devices[d];
    const struct device *device = &on->device;
    char index[DEVICE_INDEX_SIZE];

    device_format_index(device, plan_gpu(plan, on)->index, index, sizeof(index));
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:o, s:s?, s:o}", "index", index, "uuid",
                     device->uuid, "profile", device->profile, "gpu_instance",
                     (json_int_t)device->instance.gpu, "compute_instance",
                     (json_int_t)device->instance.compute, "memory_bytes",
                     memory_tree(device->mem_total_bytes), "left_out",
                     *on->left_out ? on->left_out : NULL, "slices", slices_tree(plan, d));
}

/* A partitioned GPU has no slices of its own: its MIG devices have them. */
static json_t *gpu_tree(const struct plan *plan, size_t g)
{
    const struct gpu *gpu = &plan->gpus[g];
    size_t first = find_first(plan, g);
    bool partitioned = plan->devices[first].device.kind == DEVICE_MIG;
    const char *left_out = partitioned ? "" : plan->devices[first].left_out;
    json_t *tree =
        json_pack("{s:i, s:s?, s:s?, s:o, s:o*, s:s?, s:o}", "index", (int)gpu->index, "uuid",
                  *gpu->uuid ? gpu->uuid : NULL, "model", *gpu->model ? gpu->model : NULL,
                  "memory_bytes", memory_tree(gpu->mem_total_bytes), "unknown", unknown_tree(gpu),
                  "left_out", *left_out ? left_out : NULL, "slices",
                  partitioned ? json_array() : slices_tree(plan, first));
    json_t *devices = partitioned ? json_array() : NULL;

    for (size_t d = first; devices && d < plan->n_devices && plan->devices[d].device.gpu == g; d++)
        json_array_append_new(devices, mig_device_tree(plan, d));
    if (devices)
        json_object_set_new(tree, "mig_devices", devices);
    return tree;
}

static json_t *gpus_tree(const struct plan *plan)
{
    json_t *tree = json_array();

    for (size_t i = 0; i < plan->n_gpus; i++)
        json_array_append_new(tree, gpu_tree(plan, i));
    return tree;
}

/* NULL: no layout is assumed. */
static json_t *preview_tree(const struct migpreview *preview, const struct inventory *inventory)
{
    json_t *gpus = preview->layout ? json_array() : NULL;

    for (size_t i = 0; gpus && i < preview->n_gpus; i++) {
        const struct migpreview_gpu *on = &preview->gpus[i];
        json_t *steps = json_array();

        for (size_t j = 0; j < on->n_steps; j++)
            json_array_append_new(steps, json_string(on->steps[j]));
        json_array_append_new(gpus, json_pack("{s:i, s:s, s:s*, s:o}", "index",
                                              (int)inventory->gpus[on->gpu].index, "devices",
                                              on->devices, "waits", on->waits, "steps", steps));
    }
    return gpus ? json_pack("{s:s, s:o}", "layout", preview->layout, "gpus", gpus) : NULL;
}

json_t *view_tree(const struct plan *plan, const struct target *target, const struct config *config,
                  const struct migpreview *preview)
{
    return json_pack("{s:s, s:o, s:o*, s:o, s:o, s:o, s:o*, s:o}", "machine", target->title,
                     "driver", driver_tree(&target->inventory), "mig",
                     preview_tree(preview, &target->inventory), "resources", resources_tree(plan),
                     "sharing", sharing_tree(plan), "labels", labels_tree(plan, config), "taints",
                     config->n_taints ? taints_tree(config) : NULL, "gpus", gpus_tree(plan));
}

/* What the slices of one resource on one device have in common. */
struct group {
    size_t n;
    unsigned min_permille, max_permille;
    uint64_t min_bytes, max_bytes;
};

static struct group group_make(const struct plan_resource *resource, size_t device)
{
    struct group group = {.min_permille = UINT32_MAX, .min_bytes = UINT64_MAX};

    for (size_t i = 0; i < resource->n_slices; i++) {
        const struct slice *slice = &resource->slices[i];

        if (slice->device != device)
            continue;
        group.n++;
        if (slice->share_permille < group.min_permille)
            group.min_permille = slice->share_permille;
        if (slice->share_permille > group.max_permille)
            group.max_permille = slice->share_permille;
        if (slice->mem_bytes < group.min_bytes)
            group.min_bytes = slice->mem_bytes;
        if (slice->mem_bytes > group.max_bytes)
            group.max_bytes = slice->mem_bytes;
    }
    return group;
}

static void format_permille(char *buffer, size_t size, unsigned permille)
{
    if (permille % 10)
        snprintf(buffer, size, "%u.%u", permille / 10, permille % 10);
    else
        snprintf(buffer, size, "%u", permille / 10);
}

/* Remainders make slices differ slightly: "33.3-33.4 %". */
static void add_share(struct table *table, const struct group *group)
{
    char low[24], high[24];

    format_permille(low, sizeof(low), group->min_permille);
    format_permille(high, sizeof(high), group->max_permille);
    if (group->min_permille == group->max_permille)
        table_add(table, "%s %%", low);
    else
        table_add(table, "%s-%s %%", low, high);
}

static void add_memory(struct table *table, uint64_t min_bytes, uint64_t max_bytes)
{
    if (!max_bytes)
        table_add(table, "unknown");
    else if (max_bytes < MIB)
        table_add(table, "< 1 MiB");
    else if (min_bytes / MIB == max_bytes / MIB)
        table_add(table, "%" PRIu64 " MiB", min_bytes / MIB);
    else
        table_add(table, "%" PRIu64 "-%" PRIu64 " MiB", min_bytes / MIB, max_bytes / MIB);
}

/* "GPU-5a1c2b3d": enough to distinguish the GPUs of a node; "MIG-GPU-5a1c2b3d" of a device that is
 * not there yet (slice/miglayout.h). */
static void add_short_uuid(struct table *table, const char *uuid)
{
    const char *dash =
        strchr(str_starts_with(uuid, "MIG-GPU-") ? uuid + strlen("MIG-") : uuid, '-');
    const char *end = dash ? strchr(dash + 1, '-') : NULL;

    table_add(table, "%.*s", end ? (int)(end - uuid) : (int)strlen(uuid), uuid);
}

static void add_device_cells(struct table *table, const struct plan *plan,
                             const struct plan_device *on, bool again)
{
    const struct gpu *gpu = plan_gpu(plan, on);
    const char *profile = on->device.profile;
    char index[DEVICE_INDEX_SIZE];

    if (again) {
        for (int i = 0; i < 4; i++)
            table_add(table, "%s", "");
        return;
    }
    device_format_index(&on->device, gpu->index, index, sizeof(index));
    table_add(table, "%s", index);
    table_add(table, "%s%s%s", *gpu->model ? gpu->model : "unknown", *profile ? " " : "", profile);
    add_short_uuid(table, on->device.uuid);
    add_memory(table, on->device.mem_total_bytes, on->device.mem_total_bytes);
}

static void add_device_rows(struct table *table, const struct plan *plan, size_t device)
{
    bool again = false;

    for (size_t i = 0; i < plan->n_resources; i++) {
        struct group group = group_make(&plan->resources[i], device);

        if (!group.n)
            continue;
        add_device_cells(table, plan, &plan->devices[device], again);
        table_add(table, "%zu x %s", group.n, plan->resources[i].name);
        add_share(table, &group);
        add_memory(table, group.min_bytes, group.max_bytes);
        again = true;
    }
    if (again)
        return;
    add_device_cells(table, plan, &plan->devices[device], false);
    table_add(table, "left out");
    table_add(table, "%s", "");
    table_add(table, "%s", "");
}

static bool has_parts(const struct plan *plan)
{
    for (size_t i = 0; i < plan->n_resources; i++)
        if (plan->resources[i].sharing != SHARING_NONE)
            return true;
    return false;
}

/* The star marks limits that are not enforced; unshared devices need no enforcement. */
static void print_devices(const struct plan *plan, FILE *out)
{
    bool star = has_parts(plan);
    cleanup_table struct table table = {
        .headings = {"GPU", "MODEL", "UUID", "MEMORY", "SLICES", star ? "SHARE*" : "SHARE",
                     star ? "MEMORY*" : "MEMORY"},
        .right = {true, false, false, true, false, true, true},
        .max_width = VIEW_MAX_WIDTH,
    };

    for (size_t i = 0; i < plan->n_devices; i++)
        add_device_rows(&table, plan, i);
    table_print(&table, out);
    if (star)
        fputs("* advisory, but for memory limits, and turns (gpuslice.compute), where "
              "gpuslice-arbiter serves them\n",
              out);
}

static void print_resources(const struct plan *plan, FILE *out)
{
    cleanup_table struct table table = {
        .headings = {"RESOURCE", "DEVICES", "SHARING", "PER CONTAINER"},
        .right = {false, true, false, false},
    };

    for (size_t i = 0; i < plan->n_resources; i++) {
        const struct plan_resource *resource = &plan->resources[i];

        table_add(&table, "%s", resource->name);
        table_add(&table, "%zu", resource->n_slices);
        table_add(&table, "%s", sharing_words[resource->sharing]);
        table_add(&table, "%s", per_container(resource));
    }
    if (plan->n_resources)
        table_print(&table, out);
    else
        fputs("The node would offer no resource.\n", out);
}

static void print_left_out(const struct plan *plan, FILE *out)
{
    cleanup_free bool *alike = calloc(plan->n_devices + 1, sizeof(*alike));
    bool first = true;

    for (size_t i = 0; alike && i < plan->n_devices; i++) {
        const struct plan_device *on = &plan->devices[i];
        char list[96];

        if (!*on->left_out || select_left_out_alike(plan, on, alike) != on)
            continue;
        if (first) {
            fputc('\n', out);
            style_begin(out, STYLE_BOLD);
            fputs("LEFT OUT", out);
            style_end(out);
            fputc('\n', out);
        }
        first = false;
        select_format(plan, alike, list, sizeof(list));
        fprintf(out, "%s: %s\n", list, on->left_out);
    }
}

static void print_labels(const struct plan *plan, const struct config *config, FILE *out)
{
    cleanup_table struct table table = {.headings = {"LABEL", "VALUE"}};
    cleanup(json_decrefp) json_t *tree = labels_tree(plan, config);
    const char *key;
    json_t *value;

    json_object_foreach(tree, key, value)
    {
        table_add(&table, "%s", key);
        table_add(&table, "%s", json_string_value(value));
    }
    fputc('\n', out);
    table_print(&table, out);
}

static void print_taints(const struct config *config, FILE *out)
{
    cleanup_table struct table table = {.headings = {"TAINT", "VALUE", "EFFECT"}};

    for (size_t i = 0; i < config->n_taints; i++) {
        table_add(&table, "%s", config->taints[i].key);
        table_add(&table, "%s", taint_value(&config->taints[i]));
        table_add(&table, "%s", config->taints[i].effect);
    }
    fputc('\n', out);
    table_print(&table, out);
}

/* "0-3, 5": GPUs from `first` on that get there by the same steps; true if an earlier one does. */
static bool name_alike(const struct migpreview *preview, const struct inventory *inventory,
                       size_t first, struct text *names)
{
    size_t run = 0;

    for (size_t i = 0; i < first; i++)
        if (migpreview_equal(&preview->gpus[i], &preview->gpus[first]))
            return true;
    for (size_t i = first; i <= preview->n_gpus; i++) {
        bool alike =
            i < preview->n_gpus && migpreview_equal(&preview->gpus[i], &preview->gpus[first]);

        if (alike && !run++)
            text_addf(names, "%s%u", names->length ? ", " : "",
                      inventory->gpus[preview->gpus[i].gpu].index);
        if (alike || !run)
            continue;
        if (run > 1)
            text_addf(names, "-%u", inventory->gpus[preview->gpus[i - 1].gpu].index);
        run = 0;
    }
    return false;
}

static void print_preview(const struct migpreview *preview, const struct inventory *inventory,
                          FILE *out)
{
    fputc('\n', out);
    style_begin(out, STYLE_BOLD);
    fprintf(out, "MIG LAYOUT %s", preview->layout);
    style_end(out);
    fputs(preview->n_gpus ? "\n" : "\nNo GPU can be partitioned, so nothing changes.\n", out);
    for (size_t i = 0; i < preview->n_gpus; i++) {
        const struct migpreview_gpu *on = &preview->gpus[i];
        cleanup_text struct text names = TEXT_INIT;

        if (name_alike(preview, inventory, i, &names))
            continue;
        fprintf(out, "GPU %s: %s%s\n", text_string(&names), on->devices,
                on->n_steps ? ", in these steps:" : ", as it is");
        if (on->waits)
            fprintf(out, "      %s\n", on->waits);
        for (size_t j = 0; j < on->n_steps; j++)
            fprintf(out, "%4zu  %s\n", j + 1, on->steps[j]);
    }
}

static void print_title(const struct target *target, FILE *out)
{
    const struct inventory *inventory = &target->inventory;

    fprintf(out, "%s: %zu GPU%s", target->title, inventory->n_gpus,
            inventory->n_gpus == 1 ? "" : "s");
    if (*inventory->driver_version)
        fprintf(out, ", driver %s", inventory->driver_version);
    if (inventory->cuda_version)
        fprintf(out, ", CUDA %d.%d", inventory->cuda_version / 1000,
                inventory->cuda_version % 1000 / 10);
    fputs("\n\n", out);
}

void view_tables(const struct plan *plan, const struct target *target, const struct config *config,
                 const struct migpreview *preview, FILE *out)
{
    print_title(target, out);
    if (plan->n_gpus) {
        print_devices(plan, out);
        fputc('\n', out);
    }
    print_resources(plan, out);
    print_left_out(plan, out);
    if (preview->layout)
        print_preview(preview, &target->inventory, out);
    if (config)
        print_labels(plan, config, out);
    if (config && config->n_taints)
        print_taints(config, out);
}
