// SPDX-License-Identifier: Apache-2.0
#include "config/slices.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/kubename.h"
#include "base/text.h"
#include "config/kind.h"
#include "config/quantity.h"
#include "slice/name.h"

enum { SLICES_MAX = 256 };

static const struct bounds count_bounds = {1, 1000};

static int parse_name(const struct option *option, const char *text, void *slot, struct error *err)
{
    if (!kubename_is_dns_label(text))
        return error_set(err, -EINVAL,
                         "'%s' is not a slice name; use lower-case letters, digits and inner "
                         "dashes, such as half, which becomes " NAME_GPU "-half",
                         show(text).text);
    return name_slice(text, slot, err);
}

static int parse_share(const struct option *option, const char *text, void *slot, struct error *err)
{
    return quantity_percent(show(text).text, slot, err);
}

static int parse_bytes(const struct option *option, const char *text, void *slot, struct error *err)
{
    return quantity_bytes(show(text).text, slot, err);
}

static const struct kind kind_slice_name = {.read = read_by_parse, .parse = parse_name};
static const struct kind kind_share = {.read = read_by_parse, .parse = parse_share};
static const struct kind kind_bytes = {.read = read_by_parse, .parse = parse_bytes};

static const struct option slice_options[] = {
    {.path = "name",
     .kind = &kind_slice_name,
     .offset = offsetof(struct slice_size, name),
     .required = true,
     .help = "add a short name such as name: half"},
    {.path = "share",
     .kind = &kind_share,
     .offset = offsetof(struct slice_size, share_permille),
     .required = true,
     .help = "add the part of a GPU, such as share: 50%"},
    {.path = "memory",
     .kind = &kind_bytes,
     .offset = offsetof(struct slice_size, mem_bytes),
     .help = "memory of one slice; default: according to its share"},
    {.path = "count",
     .kind = &kind_count,
     .offset = offsetof(struct slice_size, count),
     .detail = &count_bounds,
     .standard = "1",
     .help = "number of such slices of each GPU"},
};

static const struct schema slice_schema = {slice_options, ARRAY_SIZE(slice_options), true};

struct slices {
    struct slice_size *items;
    size_t n_items, capacity;
    uint64_t sum_permille;
};

static void check_name(struct reader *reader, const struct slices *slices,
                       const struct slice_size *slice)
{
    for (const struct slice_size *other = slices->items; *slice->name && other < slice; other++) {
        if (!str_equal(other->name, slice->name))
            continue;
        reader_error(
            reader, slice->at,
            "'%s' is given twice (first at line %u); choose another name, or raise 'count' there",
            slice->name, other->at.line);
        return;
    }
}

static void check_sum(struct reader *reader, struct slices *slices, const struct slice_size *slice)
{
    uint64_t before = slices->sum_permille;

    slices->sum_permille += (uint64_t)slice->share_permille * slice->count;
    if (before > 1000 || slices->sum_permille <= 1000)
        return;
    reader_error(reader, slice->at,
                 "with this entry the slices of a GPU add up to %llu.%llu%%; reduce shares or "
                 "counts, to 100%% at most",
                 (unsigned long long)slices->sum_permille / 10,
                 (unsigned long long)slices->sum_permille % 10);
}

static int read_slice(struct reader *reader, const struct yaml *node, void *context)
{
    struct slices *slices = context;
    struct slice_size *slice =
        array_push(&slices->items, &slices->n_items, &slices->capacity, sizeof(*slice));
    int r;

    if (!slice)
        return -ENOMEM;
    r = schema_set_defaults(&slice_schema, OPTION_CONFIG, slice);
    if (r < 0)
        return r;
    slice->at = node->at;
    r = schema_read(reader, &slice_schema, "", node, slice);
    if (r < 0)
        return r;
    check_name(reader, slices, slice);
    check_sum(reader, slices, slice);
    return 0;
}

static int read_slices(struct reader *reader, const struct option *option, const struct yaml *node,
                       void *slot)
{
    struct policy *policy = slot;
    struct slices slices = {.items = NULL};
    size_t n_errors = problems_count(reader->problems, PROBLEM_ERROR);
    int r = 0;

    if (node->n_children > SLICES_MAX)
        reader_error(reader, node->at, "more than %d entries in one list", SLICES_MAX);
    else
        r = schema_read_list(reader, node, "slices", read_slice, &slices);
    policy->slices = slices.items;
    /* The sizes are meant together: one that is refused leaves no sense in the others. */
    policy->n_slices =
        problems_count(reader->problems, PROBLEM_ERROR) == n_errors ? slices.n_items : 0;
    return r;
}

const struct kind kind_slices = {
    .read = read_slices, .below = &slice_schema, .is_list_of_maps = true};
