// SPDX-License-Identifier: Apache-2.0
#include "cli/view.h"

#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "cli/style.h"
#include "cli/table.h"

enum { MIB = 1 << 20 };

static json_t *resources_tree(const struct plan *plan)
{
    json_t *tree = json_object();

    for (size_t i = 0; i < plan->n_resources; i++)
        json_object_set_new(tree, plan->resources[i].name,
                            json_integer((json_int_t)plan->resources[i].n_slices));
    return tree;
}

static json_t *labels_tree(const struct plan *plan)
{
    json_t *tree = json_object();

    for (size_t i = 0; i < plan->n_labels; i++)
        json_object_set_new(tree, plan->labels[i].key, json_string(plan->labels[i].value));
    return tree;
}

static json_t *slices_tree(const struct plan *plan, size_t gpu)
{
    json_t *tree = json_array();

    for (size_t i = 0; i < plan->n_resources; i++)
        for (size_t j = 0; j < plan->resources[i].n_slices; j++) {
            const struct slice *slice = &plan->resources[i].slices[j];

            if (slice->gpu == gpu)
                json_array_append_new(tree,
                                      json_pack("{s:s, s:s, s:i, s:I}", "id", slice->id, "resource",
                                                plan->resources[i].name, "share_permille",
                                                (int)slice->share_permille, "memory_bytes",
                                                (json_int_t)slice->mem_bytes));
        }
    return tree;
}

static json_t *gpus_tree(const struct plan *plan)
{
    json_t *tree = json_array();

    for (size_t i = 0; i < plan->n_gpus; i++) {
        const struct plan_gpu *gpu = &plan->gpus[i];

        json_array_append_new(
            tree, json_pack("{s:i, s:s, s:s, s:I, s:s?, s:o}", "index", (int)gpu->gpu.index, "uuid",
                            gpu->gpu.uuid, "model", gpu->gpu.model, "memory_bytes",
                            (json_int_t)gpu->gpu.mem_total_bytes, "left_out",
                            *gpu->left_out ? gpu->left_out : NULL, "slices", slices_tree(plan, i)));
    }
    return tree;
}

json_t *view_tree(const struct plan *plan)
{
    return json_pack("{s:o, s:o, s:o}", "resources", resources_tree(plan), "labels",
                     labels_tree(plan), "gpus", gpus_tree(plan));
}

/* What the slices of one resource on one GPU have in common. */
struct group {
    size_t n;
    unsigned min_permille, max_permille;
    uint64_t min_bytes, max_bytes;
};

static struct group group_make(const struct plan_resource *resource, size_t gpu)
{
    struct group group = {.min_permille = UINT32_MAX, .min_bytes = UINT64_MAX};

    for (size_t i = 0; i < resource->n_slices; i++) {
        const struct slice *slice = &resource->slices[i];

        if (slice->gpu != gpu)
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

/* Remainders make neighbours differ by a hair: "33.3-33.4 %". */
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
    else if (min_bytes / MIB == max_bytes / MIB)
        table_add(table, "%" PRIu64 " MiB", min_bytes / MIB);
    else
        table_add(table, "%" PRIu64 "-%" PRIu64 " MiB", min_bytes / MIB, max_bytes / MIB);
}

/* "GPU-5a1c2b3d": enough to tell the GPUs of a node apart. */
static void add_short_uuid(struct table *table, const char *uuid)
{
    const char *dash = strchr(uuid, '-');
    const char *end = dash ? strchr(dash + 1, '-') : NULL;

    table_add(table, "%.*s", end ? (int)(end - uuid) : (int)strlen(uuid), uuid);
}

static void add_gpu_cells(struct table *table, const struct gpu *gpu, bool again)
{
    if (again) {
        for (int i = 0; i < 4; i++)
            table_add(table, "%s", "");
        return;
    }
    table_add(table, "%u", gpu->index);
    table_add(table, "%s", *gpu->model ? gpu->model : "unknown");
    add_short_uuid(table, gpu->uuid);
    add_memory(table, gpu->mem_total_bytes, gpu->mem_total_bytes);
}

static void add_gpu_rows(struct table *table, const struct plan *plan, size_t gpu)
{
    bool again = false;

    for (size_t i = 0; i < plan->n_resources; i++) {
        struct group group = group_make(&plan->resources[i], gpu);

        if (!group.n)
            continue;
        add_gpu_cells(table, &plan->gpus[gpu].gpu, again);
        table_add(table, "%zu x %s", group.n, plan->resources[i].name);
        add_share(table, &group);
        add_memory(table, group.min_bytes, group.max_bytes);
        again = true;
    }
    if (again)
        return;
    add_gpu_cells(table, &plan->gpus[gpu].gpu, false);
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

/* The star marks what nobody enforces; whole GPUs need no enforcement. */
static void print_gpus(const struct plan *plan, FILE *out)
{
    bool star = has_parts(plan);
    cleanup_table struct table table = {
        .headings = {"GPU", "MODEL", "UUID", "MEMORY", "SLICES", star ? "SHARE*" : "SHARE",
                     star ? "MEMORY*" : "MEMORY"},
        .right = {true, false, false, true, false, true, true},
    };

    for (size_t i = 0; i < plan->n_gpus; i++)
        add_gpu_rows(&table, plan, i);
    table_print(&table, out);
    if (star)
        fputs("* advisory: in this release slices are scheduled, not yet enforced\n", out);
}

static void print_resources(const struct plan *plan, FILE *out)
{
    static const char *const sharing[] = {
        [SHARING_NONE] = "none", [SHARING_TIME_SLICING] = "time slicing", [SHARING_MPS] = "MPS"};
    cleanup_table struct table table = {
        .headings = {"RESOURCE", "DEVICES", "SHARING", "PER CONTAINER"},
        .right = {false, true, false, false},
    };

    for (size_t i = 0; i < plan->n_resources; i++) {
        const struct plan_resource *resource = &plan->resources[i];

        table_add(&table, "%s", resource->name);
        table_add(&table, "%zu", resource->n_slices);
        table_add(&table, "%s", sharing[resource->sharing]);
        table_add(&table, "%s", resource->fail_multi ? "one" : "any number");
    }
    if (plan->n_resources)
        table_print(&table, out);
    else
        fputs("The node would offer no resource.\n", out);
}

static void print_left_out(const struct plan *plan, FILE *out)
{
    bool first = true;

    for (size_t i = 0; i < plan->n_gpus; i++) {
        if (!*plan->gpus[i].left_out)
            continue;
        if (first) {
            fputc('\n', out);
            style_begin(out, STYLE_BOLD);
            fputs("LEFT OUT\n", out);
            style_end(out);
        }
        first = false;
        fprintf(out, "GPU %u: %s\n", plan->gpus[i].gpu.index, plan->gpus[i].left_out);
    }
}

static void print_labels(const struct plan *plan, FILE *out)
{
    cleanup_table struct table table = {.headings = {"LABEL", "VALUE"}};

    for (size_t i = 0; i < plan->n_labels; i++) {
        table_add(&table, "%s", plan->labels[i].key);
        table_add(&table, "%s", plan->labels[i].value);
    }
    fputc('\n', out);
    table_print(&table, out);
}

static void print_title(const struct machine *machine, FILE *out)
{
    const struct inventory *inventory = &machine->inventory;

    fprintf(out, "%s: %zu GPU%s", machine->title, inventory->n_gpus,
            inventory->n_gpus == 1 ? "" : "s");
    if (*inventory->driver_version)
        fprintf(out, ", driver %s", inventory->driver_version);
    if (inventory->cuda_version)
        fprintf(out, ", CUDA %d.%d", inventory->cuda_version / 1000,
                inventory->cuda_version % 1000 / 10);
    fputs("\n\n", out);
}

void view_tables(const struct plan *plan, const struct machine *machine, bool with_labels,
                 FILE *out)
{
    print_title(machine, out);
    if (plan->n_gpus) {
        print_gpus(plan, out);
        fputc('\n', out);
    }
    print_resources(plan, out);
    print_left_out(plan, out);
    if (with_labels)
        print_labels(plan, out);
}
