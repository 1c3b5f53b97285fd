// SPDX-License-Identifier: Apache-2.0
#include "karpenter/profileslices.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/kubename.h"
#include "base/yamlmap.h"
#include "config/quantity.h"
#include "slice/name.h"
#include "slice/share.h"

#define PATH "spec.slices"

enum { COUNT_MAX = 1000, PERCENT = 16 };

void profileslices_deinit(struct profileslices *slices)
{
    free(slices->items);
    *slices = (struct profileslices){.items = NULL};
}

static bool parse_name(const char *text, void *to)
{
    return kubename_is_dns_label(text) && name_slice(text, to, NULL) == 0;
}

static bool parse_share(const char *text, void *to)
{
    return quantity_percent(text, to, NULL) == 0;
}

static const struct yamlmap_field fields[] = {
    {"name", .kind = YAMLMAP_WORD, YAMLMAP_AT(slice_size, name), .parse = parse_name,
     .expected = "a short name of lower-case letters, digits and inner dashes, such as half, which "
                 "becomes " NAME_GPU "-half",
     .required = true},
    {"share", .kind = YAMLMAP_WORD, YAMLMAP_AT(slice_size, share_permille), .parse = parse_share,
     .expected = "the part of a GPU, such as 50% or 12.5%", .required = true},
    {"memory", .kind = YAMLMAP_SIZE, YAMLMAP_AT(slice_size, mem_bytes)},
    {"count", YAMLMAP_NUMBER_AT(slice_size, count, 1, COUNT_MAX)},
    {NULL},
};

/* ---- Reading ---- */

struct reader {
    struct problems *problems;
    struct profileslices *slices;
    bool failed; /* without memory */
};

static int push(struct profileslices *slices, const struct slice_size *slice)
{
    struct slice_size *added =
        array_push(&slices->items, &slices->n_items, &slices->capacity, sizeof(*added));

    if (!added)
        return -ENOMEM;
    *added = *slice;
    return 0;
}

static void add_slice(void *context, const struct yaml *item, const char *path)
{
    struct reader *r = context;
    struct slice_size slice = {.count = 1, .at = item->at};

    yamlmap_read(r->problems, fields, item, path, &slice);
    for (size_t i = 0; i < r->slices->n_items && *slice.name; i++)
        if (!strcmp(r->slices->items[i].name, slice.name))
            yamlmap_refuse(r->problems, item->at, path,
                           "another slice has this name; choose another, or raise count there");
    r->failed = r->failed || push(r->slices, &slice) < 0;
}

static void check_sum(const struct reader *r, const struct yaml *list)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < r->slices->n_items; i++)
        sum += (uint64_t)r->slices->items[i].share_permille * r->slices->items[i].count;
    if (sum > SHARE_WHOLE)
        yamlmap_refuse(r->problems, list->at, PATH,
                       "the slices of a GPU add up to %" PRIu64 ".%" PRIu64
                       " %%; reduce shares or counts, to 100 %% at most",
                       sum / 10, sum % 10);
}

int profileslices_read(struct problems *problems, const struct yaml *list,
                       struct profileslices *slices)
{
    struct reader r = {.problems = problems, .slices = slices};

    yamlmap_read_list(problems, list, PATH, PROFILESLICES_MAX, add_slice, &r);
    if (list->kind == YAML_LIST && !list->n_children)
        yamlmap_refuse(problems, list->at, PATH,
                       "the list is empty; add a slice, such as {name: half, share: 50%%, "
                       "count: 2}");
    check_sum(&r, list);
    return r.failed ? -ENOMEM : 0;
}

/* ---- Writing ---- */

static const char *short_name(const struct slice_size *slice)
{
    return slice->name + strlen(NAME_GPU "-");
}

static const char *percent(const struct slice_size *slice, char to[PERCENT])
{
    snprintf(to, PERCENT, "%u.%u%%", slice->share_permille / 10, slice->share_permille % 10);
    return to;
}

static json_t *slice_json(const struct slice_size *slice)
{
    char share[PERCENT];
    json_t *tree = json_pack("{s:s, s:s, s:I}", "name", short_name(slice), "share",
                             percent(slice, share), "count", (json_int_t)slice->count);

    if (slice->mem_bytes)
        json_object_set_new(tree, "memory", json_sprintf("%" PRIu64, slice->mem_bytes));
    return tree;
}

json_t *profileslices_json(const struct profileslices *slices)
{
    json_t *list = json_array();

    for (size_t i = 0; i < slices->n_items; i++)
        json_array_append_new(list, slice_json(&slices->items[i]));
    return list;
}

void profileslices_add_config(const struct profileslices *slices, struct text *text)
{
    char share[PERCENT];

    text_add(text, "gpuslice:\n  slices:\n");
    for (size_t i = 0; i < slices->n_items; i++) {
        const struct slice_size *slice = &slices->items[i];

        text_addf(text, "  - {name: '%s', share: %s, count: %u", short_name(slice),
                  percent(slice, share), slice->count);
        if (slice->mem_bytes)
            text_addf(text, ", memory: %" PRIu64, slice->mem_bytes);
        text_add(text, "}\n");
    }
}
