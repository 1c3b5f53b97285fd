// SPDX-License-Identifier: Apache-2.0
#include "config/migconfig.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/kubename.h"
#include "base/text.h"
#include "config/kind.h"
#include "slice/migname.h"

enum {
    ENTRIES_MAX = 256,
    GPU_INDEX_MAX = 255,
    COUNT_MAX = 1000, /* what fits depends on the GPU; this is against slips of the finger */
};

static void entry_deinit(struct migconfig_entry *entry)
{
    free(entry->filters);
    free(entry->gpus);
    free(entry->counts);
}

void migconfig_free(struct migconfig *config)
{
    if (!config)
        return;
    for (size_t i = 0; i < config->n_labels; i++) {
        struct migconfig_label *label = &config->labels[i];

        for (size_t j = 0; j < label->n_entries; j++)
            entry_deinit(&label->entries[j]);
        free(label->entries);
        free(label->name);
    }
    free(config->labels);
    free(config);
}

DEFINE_CLEANUP(struct migconfig *, migconfig_free)

/* --- device-filter --- */

/* "0x20B010DE", decimal too: Go's strconv.ParseUint with base 0. */
static bool parse_id(const char *text, size_t length, uint32_t *ret_id)
{
    char digits[24];
    bool is_hex = length > 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    unsigned long long id;
    char *end;

    if (!length || length >= sizeof(digits))
        return false;
    memcpy(digits, text, length);
    digits[length] = '\0';
    if (strspn(digits + (is_hex ? 2 : 0), is_hex ? "0123456789abcdefABCDEF" : "0123456789") !=
        length - (is_hex ? 2 : 0))
        return false;
    id = strtoull(digits, &end, is_hex ? 16 : 10);
    if (*end || id > UINT32_MAX)
        return false;
    *ret_id = (uint32_t)id;
    return true;
}

static bool parse_filter(const char *text, struct migconfig_filter *ret_filter)
{
    struct migconfig_filter filter = {.device_id = 0};
    size_t length = strcspn(text, ":");

    filter.has_subsystem = text[length] == ':';
    if (!parse_id(text, length, &filter.device_id))
        return false;
    if (filter.has_subsystem &&
        !parse_id(text + length + 1, strlen(text + length + 1), &filter.subsystem_id))
        return false;
    *ret_filter = filter;
    return true;
}

/* What YAML does not read as a string; Go refuses it. */
static bool is_typed(const struct yaml *node)
{
    int64_t number;
    double real;
    bool truth;

    return yaml_as_int(node, &number) || yaml_as_double(node, &real) || yaml_as_bool(node, &truth);
}

static int read_filter(struct reader *reader, const struct yaml *node, void *context)
{
    struct migconfig_entry *entry = context;
    struct migconfig_filter filter, *slot;

    entry->is_filtered = true;
    if (node->kind != YAML_SCALAR || is_typed(node)) {
        reader_error(reader, node->at,
                     "expected a PCI id as a string, got %s; write it in quotes, such as "
                     "\"0x20B010DE\"",
                     show_node(node).text);
        return 0;
    }
    if (!parse_filter(node->text, &filter)) {
        reader_warning(reader, node->at,
                       "'%s' is not a PCI id, so it matches no GPU; write device and vendor id as "
                       "one number, such as \"0x20B010DE\", or with those of the subsystem, such "
                       "as \"0x20B010DE:0x134F10DE\"",
                       show(node->text).text);
        return 0;
    }
    slot = array_push(&entry->filters, &entry->n_filters, &entry->filters_capacity, sizeof(*slot));
    if (!slot)
        return -ENOMEM;
    *slot = filter;
    return 0;
}

/* An empty string or list is no filter, as for mig-parted. */
static int read_filters(struct reader *reader, const struct option *option, const struct yaml *node,
                        void *slot)
{
    if (node->kind == YAML_LIST)
        return schema_read_list(reader, node, "PCI ids", read_filter, slot);
    if (node->kind == YAML_SCALAR && !*node->text)
        return 0;
    return read_filter(reader, node, slot);
}

static const struct kind kind_filters = {.read = read_filters};

/* --- devices --- */

static int read_gpu(struct reader *reader, const struct yaml *node, void *context)
{
    struct migconfig_entry *entry = context;
    int64_t index;
    uint32_t *slot;

    if (!read_integer(reader, node, 0, GPU_INDEX_MAX, &index))
        return 0;
    for (size_t i = 0; i < entry->n_gpus; i++) {
        if (entry->gpus[i] != (uint32_t)index)
            continue;
        reader_warning(reader, node->at, "GPU %u is listed twice; remove one", entry->gpus[i]);
        return 0;
    }
    slot = array_push(&entry->gpus, &entry->n_gpus, &entry->gpus_capacity, sizeof(*slot));
    if (!slot)
        return -ENOMEM;
    *slot = (uint32_t)index;
    return 0;
}

static int read_devices(struct reader *reader, const struct option *option, const struct yaml *node,
                        void *slot)
{
    struct migconfig_entry *entry = slot;

    if (node->kind == YAML_LIST) {
        if (!node->n_children)
            reader_warning(reader, node->at,
                           "an empty list is for no GPU; write all, or indices such as [0, 1]");
        return schema_read_list(reader, node, "GPU indices", read_gpu, entry);
    }
    entry->is_for_all = node->kind == YAML_SCALAR && str_equal(node->text, "all");
    if (!entry->is_for_all)
        reader_error(reader, node->at,
                     "expected all, or a list of GPU indices such as [0, 1], got %s",
                     show_node(node).text);
    return 0;
}

static const struct kind kind_devices = {.read = read_devices};

/* --- mig-devices --- */

static bool check_profile(struct reader *reader, const struct yaml *node)
{
    struct mig_name name;
    struct error err = ERROR_INIT;

    if (strlen(node->key) >= DEVICE_PROFILE_SIZE)
        reader_error(reader, node->key_at,
                     "'%s' is too long for a MIG profile; write one such as 1g.5gb",
                     show(node->key).text);
    else if (migname_parse(node->key, &name, &err) < 0)
        reader_error(reader, node->key_at, "%s", error_text(&err));
    else if (!name.gpu_slices || !name.compute_slices)
        reader_warning(reader, node->key_at, "no GPU has the profile '%s', of 0 slices", node->key);
    return strlen(node->key) < DEVICE_PROFILE_SIZE && !err.code;
}

static int read_profile(struct reader *reader, const struct yaml *node,
                        struct migconfig_entry *entry)
{
    struct migconfig_count *slot;
    bool is_profile = check_profile(reader, node);
    int64_t count;

    if (!read_integer(reader, node, 0, COUNT_MAX, &count) || !is_profile)
        return 0;
    if (!count) {
        reader_warning(reader, node->at,
                       "a count of 0 is as good as no entry, and older releases of mig-parted "
                       "never take such a configuration for applied; remove it");
        return 0;
    }
    slot = array_push(&entry->counts, &entry->n_counts, &entry->counts_capacity, sizeof(*slot));
    if (!slot)
        return -ENOMEM;
    *slot = (struct migconfig_count){.count = (uint32_t)count, .at = node->key_at};
    return str_copy(slot->profile, sizeof(slot->profile), node->key);
}

static int read_counts(struct reader *reader, const struct option *option, const struct yaml *node,
                       void *slot)
{
    struct migconfig_entry *entry = slot;
    size_t n_errors = problems_count(reader->problems, PROBLEM_ERROR);

    if (node->kind != YAML_MAP) {
        reader_error(reader, node->at, "expected a map (\"1g.5gb\": 7), got %s",
                     show_node(node).text);
        return 0;
    }
    entry->has_counts = true;
    for (size_t i = 0; i < node->n_children; i++) {
        size_t before = reader_enter(reader, node->children[i].key);
        int r = read_profile(reader, &node->children[i], entry);

        reader_leave(reader, before);
        if (r < 0)
            return r;
    }
    if (node->n_children && !entry->n_counts &&
        problems_count(reader->problems, PROBLEM_ERROR) == n_errors)
        reader_error(reader, node->at,
                     "all counts are 0; write mig-devices: {} for no instance at all");
    return 0;
}

static const struct kind kind_counts = {.read = read_counts};

/* --- entries --- */

static const struct option entry_options[] = {
    {.path = "device-filter",
     .kind = &kind_filters,
     .help = "PCI ids of the GPUs that this entry is for; default: any"},
    {.path = "devices",
     .kind = &kind_devices,
     .required = true,
     .help = "write devices: all, or a list of GPU indices such as [0, 1]"},
    {.path = "mig-enabled",
     .kind = &kind_bool,
     .offset = offsetof(struct migconfig_entry, enabled),
     .required = true,
     .help = "write true or false"},
    {.path = "mig-devices", .kind = &kind_counts, .help = "how many instances of which profile"},
};

static const struct schema entry_schema = {entry_options, ARRAY_SIZE(entry_options), true};

/* False after reporting that mode and instances contradict each other. */
static bool check_entry(struct reader *reader, const struct migconfig_entry *entry)
{
    if (entry->enabled && !entry->has_counts)
        reader_error(reader, entry->at,
                     "'mig-devices' is missing: with mig-enabled: true write the profiles and "
                     "their counts, such as {\"1g.5gb\": 7}, or {} for no instance at all");
    if (!entry->enabled && entry->n_counts)
        reader_error(reader, entry->counts[0].at,
                     "with mig-enabled: false there are no instances; remove mig-devices, or write "
                     "mig-enabled: true");
    return entry->enabled ? entry->has_counts : !entry->n_counts;
}

static int read_entry(struct reader *reader, const struct yaml *node, void *context)
{
    struct migconfig_label *label = context;
    struct migconfig_entry *entry =
        array_push(&label->entries, &label->n_entries, &label->capacity, sizeof(*entry));
    size_t n_errors = problems_count(reader->problems, PROBLEM_ERROR);
    int r;

    if (!entry)
        return -ENOMEM;
    entry->at = node->at;
    r = schema_read(reader, &entry_schema, "", node, entry);
    if (r < 0)
        return r;
    if (problems_count(reader->problems, PROBLEM_ERROR) > n_errors || !check_entry(reader, entry)) {
        entry_deinit(entry);
        label->n_entries--;
    }
    return 0;
}

/* --- two entries for one GPU --- */

static bool filters_overlap(const struct migconfig_entry *a, const struct migconfig_entry *b)
{
    if (!a->is_filtered || !b->is_filtered)
        return true;
    for (size_t i = 0; i < a->n_filters; i++)
        for (size_t j = 0; j < b->n_filters; j++) {
            const struct migconfig_filter *f = &a->filters[i], *g = &b->filters[j];

            if (f->device_id == g->device_id &&
                (!f->has_subsystem || !g->has_subsystem || f->subsystem_id == g->subsystem_id))
                return true;
        }
    return false;
}

static bool has_index(const struct migconfig_entry *entry, uint32_t index)
{
    for (size_t i = 0; i < entry->n_gpus; i++)
        if (entry->gpus[i] == index)
            return true;
    return entry->is_for_all;
}

static bool gpus_overlap(const struct migconfig_entry *a, const struct migconfig_entry *b)
{
    for (size_t i = 0; i < a->n_gpus; i++)
        if (has_index(b, a->gpus[i]))
            return true;
    return a->is_for_all && (b->is_for_all || b->n_gpus);
}

static uint32_t count_of(const struct migconfig_entry *entry, const char *profile)
{
    for (size_t i = 0; i < entry->n_counts; i++)
        if (str_equal(entry->counts[i].profile, profile))
            return entry->counts[i].count;
    return 0;
}

static bool want_the_same(const struct migconfig_entry *a, const struct migconfig_entry *b)
{
    if (a->enabled != b->enabled || a->n_counts != b->n_counts)
        return false;
    for (size_t i = 0; i < a->n_counts; i++)
        if (a->counts[i].count != count_of(b, a->counts[i].profile))
            return false;
    return true;
}

static void check_overlap(struct reader *reader, const struct migconfig_label *label)
{
    for (size_t i = 1; i < label->n_entries; i++)
        for (size_t j = 0; j < i; j++) {
            const struct migconfig_entry *entry = &label->entries[i], *earlier = &label->entries[j];

            if (!filters_overlap(entry, earlier) || !gpus_overlap(entry, earlier) ||
                want_the_same(entry, earlier))
                continue;
            reader_warning(reader, entry->at,
                           "GPUs of this entry are also in the one at line %u, which differs; this "
                           "one counts for them, while mig-parted applies both in turn and takes "
                           "neither for applied",
                           earlier->at.line);
            break;
        }
}

/* --- labels --- */

static int read_label(struct reader *reader, const struct yaml *node, struct migconfig *config)
{
    struct migconfig_label *label;
    struct error err = ERROR_INIT;
    int r;

    if (node->kind == YAML_NULL || (node->kind == YAML_LIST && !node->n_children)) {
        reader_error(reader, node->key_at,
                     "a label needs at least one entry, such as - {devices: all, mig-enabled: "
                     "false}");
        return 0;
    }
    if (node->n_children > ENTRIES_MAX) {
        reader_error(reader, node->at, "more than %d entries in one list", ENTRIES_MAX);
        return 0;
    }
    label = array_push(&config->labels, &config->n_labels, &config->capacity, sizeof(*label));
    if (!label)
        return -ENOMEM;
    label->at = node->key_at;
    label->name = strdup(node->key);
    if (!label->name)
        return -ENOMEM;
    if (kubename_check_value(node->key, &err) < 0)
        reader_warning(reader, node->key_at,
                       "no Node can choose this label with nvidia.com/mig.config: %s",
                       error_text(&err));
    r = schema_read_list(reader, node, "entries", read_entry, label);
    if (r == 0)
        check_overlap(reader, label);
    return r;
}

static int read_labels(struct reader *reader, const struct option *option, const struct yaml *node,
                       void *slot)
{
    int r = 0;

    if (node->kind != YAML_MAP || !node->n_children) {
        reader_error(reader, node->at,
                     "expected labels with entries below them (all-disabled: ...), got %s",
                     node->kind == YAML_MAP ? "none" : show_node(node).text);
        return 0;
    }
    if (node->n_children > MIGCONFIG_LABELS_MAX) {
        reader_error(reader, node->at, "more than %d labels in one file; split it",
                     MIGCONFIG_LABELS_MAX);
        return 0;
    }
    for (size_t i = 0; i < node->n_children && r == 0; i++) {
        size_t before = reader_enter(reader, node->children[i].key);

        reader_check_alias(reader, &node->children[i], node->at);
        r = read_label(reader, &node->children[i], slot);
        reader_leave(reader, before);
    }
    return r;
}

static int read_version(struct reader *reader, const struct option *option, const struct yaml *node,
                        void *slot)
{
    if (node->kind != YAML_SCALAR || !str_equal(node->text, "v1"))
        reader_error(reader, node->at, "only version v1 exists, got %s; write version: v1",
                     show_node(node).text);
    return 0;
}

static const struct kind kind_v1 = {.read = read_version};
static const struct kind kind_labels = {.read = read_labels, .takes_null = true};

static const struct option file_options[] = {
    {.path = "version",
     .kind = &kind_v1,
     .required = true,
     .help = "write version: v1 at the start"},
    {.path = "mig-configs", .kind = &kind_labels, .help = "labels, and the layout of each"},
};

static const struct schema file_schema = {file_options, ARRAY_SIZE(file_options), true};

int migconfig_read(struct reader *reader, const struct yaml *document,
                   struct migconfig **ret_config)
{
    cleanup(migconfig_free_p) struct migconfig *config = calloc(1, sizeof(*config));
    const struct schema *root = reader->root;
    const enum config_strictness strictness = reader->strictness;
    int r = 0;

    if (!config)
        return -ENOMEM;
    /* mig-parted refuses unknown keys, also where NVIDIA's device plugin accepts them. */
    reader->strictness = CONFIG_CHECK;
    reader->root = &file_schema;
    if (document && document->kind != YAML_NULL)
        r = schema_read(reader, &file_schema, "", document, config);
    reader->root = root;
    reader->strictness = strictness;
    if (r == 0)
        *ret_config = TAKE_PTR(config);
    return r;
}
