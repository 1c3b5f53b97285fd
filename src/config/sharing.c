// SPDX-License-Identifier: Apache-2.0
#include "config/sharing.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"
#include "config/devices.h"
#include "config/kind.h"
#include "slice/name.h"
#include "slice/plan.h"
#include "slice/select.h"

/* One of the two sections, as written in the file. */
struct section {
    bool rename_by_default, fail_multi;
    struct sharing_entry *entries;
    size_t n_entries, capacity;
    enum sharing_strategy strategy;
    bool has_resources;
    struct position at; /* position of the section's value; line 0 = absent */
};

struct sections {
    struct section time_slicing, mps;
};

static const struct bounds replica_bounds = {1, PLAN_REPLICAS_MAX};

enum { ENTRIES_MAX = 256 };

static const struct option entry_options[] = {
    {.path = "name",
     .kind = &kind_resource,
     .offset = offsetof(struct sharing_entry, name),
     .required = true,
     .help = "add the resource to share, such as name: nvidia.com/gpu"},
    {.path = "rename",
     .kind = &kind_resource,
     .offset = offsetof(struct sharing_entry, rename),
     .help = "the name of the slices"},
    {.path = "devices",
     .kind = &kind_devices,
     .offset = offsetof(struct sharing_entry, devices),
     .help = "all, a count, or a list of indices and UUIDs"},
    {.path = "replicas",
     .kind = &kind_count,
     .offset = offsetof(struct sharing_entry, replicas),
     .detail = &replica_bounds,
     .required = true,
     .help = "add the number of slices of each GPU, such as replicas: 4"},
};

static const struct schema entry_schema = {entry_options, ARRAY_SIZE(entry_options), true};

static void deinit_entry(struct sharing_entry *entry)
{
    free(entry->devices.refs);
    entry->devices.refs = NULL;
}

static int read_entry(struct reader *reader, const struct yaml *node, void *context)
{
    struct section *section = context;
    struct sharing_entry *entry =
        array_push(&section->entries, &section->n_entries, &section->capacity, sizeof(*entry));
    size_t n_errors = problems_count(reader->problems, PROBLEM_ERROR);
    int r;

    if (!entry)
        return -ENOMEM;
    entry->strategy = section->strategy;
    entry->at = node->at;
    entry->devices.at = node->at;
    snprintf(entry->path, sizeof(entry->path), "%.63s", reader->path);
    r = schema_read(reader, &entry_schema, "", node, entry);
    if (problems_count(reader->problems, PROBLEM_ERROR) > n_errors)
        entry->replicas = 0; /* see sharing_drop_refused */
    return r;
}

static int read_entries(struct reader *reader, const struct option *option, const struct yaml *node,
                        void *slot)
{
    struct section *section = slot;

    section->has_resources = true;
    if (node->kind == YAML_NULL || (node->kind == YAML_LIST && node->n_children == 0)) {
        reader_error(reader, node->key_at,
                     "no resources; list what to share, such as - {name: nvidia.com/gpu, "
                     "replicas: 4}");
        return 0;
    }
    if (node->n_children > ENTRIES_MAX) {
        reader_error(reader, node->at, "more than %d entries in one list", ENTRIES_MAX);
        return 0;
    }
    return schema_read_list(reader, node, "resources", read_entry, section);
}

static const struct kind kind_entries = {
    .read = read_entries, .takes_null = true, .below = &entry_schema, .is_list_of_maps = true};

static const struct option section_options[] = {
    {.path = "renameByDefault",
     .kind = &kind_bool,
     .offset = offsetof(struct section, rename_by_default),
     .help = "append .shared to the resource name of the slices"},
    {.path = "failRequestsGreaterThanOne",
     .kind = &kind_bool,
     .offset = offsetof(struct section, fail_multi),
     .help = "a container may request only one slice"},
    {.path = "resources", .kind = &kind_entries, .offset = 0, .help = "what to share"},
};

static const struct schema section_schema = {section_options, ARRAY_SIZE(section_options), true};

/* To NVIDIA, `mps: null` counts as absent, `timeSlicing: null` as a section without resources. */
static int read_section(struct reader *reader, const struct option *option, const struct yaml *node,
                        void *slot)
{
    struct section *section = slot;
    int r;

    if (node->kind == YAML_NULL && section->strategy == SHARING_MPS)
        return 0;
    section->at = node->key_at;
    if (node->kind != YAML_NULL) {
        r = schema_read(reader, &section_schema, "", node, section);
        if (r < 0 || node->kind != YAML_MAP)
            return r;
    }
    if (!section->has_resources)
        reader_error(reader, node->key_at,
                     "no resources; add a list 'resources:' below it, or remove %s", option->path);
    return 0;
}

static const struct kind kind_section = {
    .read = read_section, .takes_null = true, .below = &section_schema};

static const struct option sections_options[] = {
    {.path = "timeSlicing",
     .kind = &kind_section,
     .offset = offsetof(struct sections, time_slicing),
     .help = "slices whose processes take turns on the GPU"},
    {.path = "mps",
     .kind = &kind_section,
     .offset = offsetof(struct sections, mps),
     .help = "slices whose processes run concurrently"},
};

static const struct schema sections_schema = {sections_options, ARRAY_SIZE(sections_options),
                                              false};

static void sections_deinit(struct sections *sections)
{
    struct section *both[] = {&sections->time_slicing, &sections->mps};

    for (size_t i = 0; i < ARRAY_SIZE(both); i++) {
        for (size_t j = 0; j < both[i]->n_entries; j++)
            deinit_entry(&both[i]->entries[j]);
        free(both[i]->entries);
    }
}
#define cleanup_sections cleanup(sections_deinit)

/* NVIDIA's plugin ignores custom names and device selections; `gpuslice check` reports that. */
static void note_difference(struct reader *reader, const struct section *section,
                            const struct sharing_entry *entry)
{
    const char *suffix = section->rename_by_default ? NAME_SHARED : "";

    if (entry->replicas == 1 && *entry->name) {
        reader_report_at(reader, PROBLEM_NOTE, entry->at, entry->path,
                         "replicas: 1 means not shared: these devices are offered whole, as %s "
                         "(NVIDIA's plugin refuses such a file)",
                         policy_resource(entry));
        return;
    }
    if (reader->strictness != CONFIG_CHECK || !*entry->name)
        return;
    if (*entry->rename)
        reader_report_at(reader, PROBLEM_NOTE, entry->at, entry->path,
                         "these slices are %s here, where NVIDIA's plugin would name them %s%s",
                         entry->rename, entry->name, suffix);
    if (entry->devices.kind != DEVICES_ALL)
        reader_report_at(reader, PROBLEM_NOTE, entry->devices.at, entry->path,
                         "only the selected devices are shared here, where NVIDIA's plugin would "
                         "share all of %s",
                         entry->name);
}

static void rename_entry(struct reader *reader, const struct section *section,
                         struct sharing_entry *entry)
{
    struct error err = ERROR_INIT;

    if (str_equal(entry->rename, entry->name))
        *entry->rename = '\0'; /* set, but without effect */
    note_difference(reader, section, entry);
    if (!*entry->rename && *entry->name && section->rename_by_default && entry->replicas > 1 &&
        name_shared(entry->name, entry->rename, &err) < 0)
        reader_report_at(reader, PROBLEM_ERROR, entry->at, entry->path,
                         "%s; write a shorter 'rename:'", error_text(&err));
}

static void rename_entries(struct reader *reader, struct section *section)
{
    for (size_t i = 0; i < section->n_entries; i++)
        rename_entry(reader, section, &section->entries[i]);
}

/* Reports which of two entries applies to a GPU that both select; the plan decides alike. */
static void report_overlap(struct reader *reader, const struct sharing_entry *winner,
                           const struct sharing_entry *loser)
{
    const char *why = winner->strategy == loser->strategy ? "the first entry" : "MPS";

    reader_report_at(
        reader, reader_lenient(reader), loser->at, loser->path,
        "shares GPUs of %s that %s at line %u, column %u shares too; on those %s takes "
        "precedence: keep one of the two, or give each its own 'devices:'",
        loser->name, winner->path, winner->at.line, winner->at.column, why);
}

/* Reports each of n entries that definitely selects a GPU of `loser`. Entries with an invalid name
 * are skipped. */
static void report_overlaps(struct reader *reader, const struct sharing_entry *entries, size_t n,
                            const struct sharing_entry *loser)
{
    for (size_t i = 0; i < n && *loser->name; i++)
        if (!select_is_rest(&entries[i], loser) && select_surely_overlap(&entries[i], loser))
            report_overlap(reader, &entries[i], loser);
}

/* Compares each entry with those that take precedence: MPS, and earlier ones of its own section. */
static void check_overlaps(struct reader *reader, const struct section *section,
                           const struct section *outranking)
{
    for (size_t i = 0; i < section->n_entries; i++) {
        const struct sharing_entry *loser = &section->entries[i];

        if (outranking)
            report_overlaps(reader, outranking->entries, outranking->n_entries, loser);
        report_overlaps(reader, section->entries, i, loser);
    }
}

static int move_entries(struct policy *policy, struct sections *sections)
{
    struct section *both[] = {&sections->time_slicing, &sections->mps};
    size_t n = sections->time_slicing.n_entries + sections->mps.n_entries;

    if (n == 0)
        return 0;
    policy->sharing = calloc(n, sizeof(*policy->sharing));
    if (!policy->sharing)
        return -ENOMEM;
    for (size_t i = 0; i < ARRAY_SIZE(both); i++) {
        for (size_t j = 0; j < both[i]->n_entries; j++)
            policy->sharing[policy->n_sharing++] = both[i]->entries[j];
        both[i]->n_entries = 0; /* ownership of the entries has moved */
    }
    return 0;
}

static int read_sharing(struct reader *reader, const struct option *option, const struct yaml *node,
                        void *slot)
{
    struct policy *policy = slot;
    cleanup_sections struct sections sections = {
        .time_slicing = {.strategy = SHARING_TIME_SLICING},
        .mps = {.strategy = SHARING_MPS, .fail_multi = true},
    };
    int r = schema_read(reader, &sections_schema, "", node, &sections);

    if (r < 0)
        return r;
    rename_entries(reader, &sections.time_slicing);
    rename_entries(reader, &sections.mps);
    check_overlaps(reader, &sections.mps, NULL);
    check_overlaps(reader, &sections.time_slicing, &sections.mps);
    if (reader->strictness == CONFIG_CHECK && sections.mps.at.line && sections.time_slicing.at.line)
        reader_note(
            reader, sections.time_slicing.at,
            "both mps and timeSlicing apply here, where NVIDIA's plugin would ignore timeSlicing");
    policy->time_slicing_fail_multi = sections.time_slicing.fail_multi;
    policy->mps_fail_multi = sections.mps.fail_multi;
    return move_entries(policy, &sections);
}

const struct kind kind_sharing = {.read = read_sharing, .below = &sections_schema};

void sharing_drop_refused(struct policy *policy)
{
    size_t kept = 0;

    for (size_t i = 0; i < policy->n_sharing; i++) {
        if (policy->sharing[i].replicas)
            policy->sharing[kept++] = policy->sharing[i];
        else
            deinit_entry(&policy->sharing[i]);
    }
    policy->n_sharing = kept;
}
