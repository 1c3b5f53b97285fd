// SPDX-License-Identifier: Apache-2.0
#include "cli/migprint.h"

#include <string.h>

#include "base/text.h"
#include "cli/emit.h"

static json_t *filters_tree(const struct migconfig_entry *entry)
{
    json_t *list = json_array();

    for (size_t i = 0; i < entry->n_filters; i++) {
        char id[16];

        snprintf(id, sizeof(id), "0x%08X", entry->filters[i].device_id);
        if (entry->n_filters == 1) {
            json_decref(list);
            return json_string(id);
        }
        json_array_append_new(list, json_string(id));
    }
    return list;
}

static json_t *entry_tree(const struct migconfig_entry *entry)
{
    json_t *tree = json_object(), *gpus = json_array(), *counts = json_object();

    for (size_t i = 0; i < entry->n_gpus; i++)
        json_array_append_new(gpus, json_integer(entry->gpus[i]));
    for (size_t i = 0; i < entry->n_counts; i++)
        json_object_set_new(counts, entry->counts[i].profile, json_integer(entry->counts[i].count));
    if (entry->is_filtered)
        json_object_set_new(tree, "device-filter", filters_tree(entry));
    if (entry->is_for_all)
        json_object_set_new(tree, "devices", json_string("all"));
    else
        json_object_set(tree, "devices", gpus);
    json_decref(gpus);
    json_object_set_new(tree, "mig-enabled", json_boolean(entry->enabled));
    json_object_set_new(tree, "mig-devices", counts);
    return tree;
}

static json_t *config_tree(const struct migconfig *config)
{
    json_t *labels = json_object();

    for (size_t i = 0; i < config->n_labels; i++) {
        json_t *entries = json_array();

        for (size_t j = 0; j < config->labels[i].n_entries; j++)
            json_array_append_new(entries, entry_tree(&config->labels[i].entries[j]));
        json_object_set_new(labels, config->labels[i].name, entries);
    }
    return json_pack("{s:s, s:o}", "version", "v1", "mig-configs", labels);
}

static void add_filters(struct text *out, const struct migconfig_entry *entry)
{
    bool is_list = entry->n_filters > 1;

    text_add(out, is_list ? "device-filter: [" : "device-filter: ");
    for (size_t i = 0; i < entry->n_filters; i++)
        text_addf(out, "%s\"0x%08X\"", i ? ", " : "", entry->filters[i].device_id);
    text_add(out, is_list ? "]\n    " : "\n    ");
}

/* With lists in one line, as mig-parted writes them. */
static void add_entry(struct text *out, const struct migconfig_entry *entry)
{
    text_add(out, "  - ");
    if (entry->is_filtered)
        add_filters(out, entry);
    text_add(out, entry->is_for_all ? "devices: all" : "devices: [");
    for (size_t i = 0; i < entry->n_gpus && !entry->is_for_all; i++)
        text_addf(out, "%s%u", i ? ", " : "", entry->gpus[i]);
    text_addf(out, "%s\n    mig-enabled: %s\n    mig-devices:%s\n", entry->is_for_all ? "" : "]",
              entry->enabled ? "true" : "false", entry->n_counts ? "" : " {}");
    for (size_t i = 0; i < entry->n_counts; i++)
        text_addf(out, "      %s: %u\n", entry->counts[i].profile, entry->counts[i].count);
}

static void print_yaml(const struct migconfig *config, FILE *to)
{
    cleanup_text struct text out = TEXT_INIT;

    text_add(&out, "version: v1\nmig-configs:\n");
    for (size_t i = 0; i < config->n_labels; i++) {
        cleanup(json_decrefp) json_t *name = json_string(config->labels[i].name);
        cleanup_text struct text key = TEXT_INIT;

        emit_yaml(&key, name);
        text_addf(&out, "  %.*s:\n", (int)strcspn(text_string(&key), "\n"), text_string(&key));
        for (size_t j = 0; j < config->labels[i].n_entries; j++)
            add_entry(&out, &config->labels[i].entries[j]);
    }
    fputs(text_string(&out), to);
}

void migprint(const struct migconfig *config, bool as_json, FILE *to)
{
    cleanup(json_decrefp) json_t *tree = NULL;

    if (!as_json) {
        print_yaml(config, to);
        return;
    }
    tree = config_tree(config);
    emit_json(to, tree);
}
