// SPDX-License-Identifier: Apache-2.0
#include "config/miglabel.h"

#include <errno.h>

#include "base/text.h"
#include "config/schema.h"

static void list_labels(const struct migconfig *config, struct text *list)
{
    for (size_t i = 0; i < config->n_labels && list->length < 300; i++)
        text_addf(list, "%s%s", i ? ", " : "", show(config->labels[i].name).text);
    if (list->length >= 300)
        text_add(list, ", ...");
}

static int refuse_label(const struct migconfig *config, const char *name, struct error *err)
{
    cleanup_text struct text list = TEXT_INIT;
    const char *names[MIGCONFIG_LABELS_MAX], *near;

    list_labels(config, &list);
    if (!config->n_labels)
        return error_set(err, -ENOENT, "the file has no label below mig-configs");
    if (!name || !*name)
        return error_set(err, -ENOENT, "the file has several labels; choose one: %s",
                         text_string(&list));
    for (size_t i = 0; i < config->n_labels; i++)
        names[i] = config->labels[i].name;
    near = str_suggest(name, names, config->n_labels);
    if (near)
        return error_set(err, -ENOENT, "the file has no label '%s'; did you mean '%s'? It has: %s",
                         show(name).text, show(near).text, text_string(&list));
    return error_set(err, -ENOENT, "the file has no label '%s'; it has: %s", show(name).text,
                     text_string(&list));
}

int miglabel_select(const struct migconfig *config, const char *name,
                    const struct migconfig_label **ret_label, struct error *err)
{
    bool is_named = name && *name;

    for (size_t i = 0; i < config->n_labels; i++) {
        if (is_named ? !str_equal(config->labels[i].name, name) : config->n_labels > 1)
            continue;
        *ret_label = &config->labels[i];
        return 0;
    }
    return refuse_label(config, name, err);
}

static bool matches_model(const struct migconfig_entry *entry, const struct gpu *gpu)
{
    for (size_t i = 0; i < entry->n_filters; i++)
        if (entry->filters[i].device_id == gpu->pci_device_id &&
            (!entry->filters[i].has_subsystem ||
             entry->filters[i].subsystem_id == gpu->pci_subsystem_id))
            return true;
    return !entry->is_filtered;
}

static bool matches(const struct migconfig_entry *entry, const struct gpu *gpu)
{
    bool is_listed = entry->is_for_all;

    for (size_t i = 0; i < entry->n_gpus; i++)
        is_listed |= entry->gpus[i] == gpu->index;
    return is_listed && matches_model(entry, gpu);
}

int miglabel_want(const struct migconfig_label *label, const struct gpu *gpu,
                  const struct mig_board *board, struct mig_want *ret_want, struct error *err)
{
    const struct migconfig_entry *entry = NULL;
    struct mig_want want = {.enabled = false};
    int r = 0;

    for (size_t i = 0; i < label->n_entries; i++)
        if (matches(&label->entries[i], gpu))
            entry = &label->entries[i];
    if (!entry)
        return MIGLABEL_NO_ENTRY;
    want.enabled = entry->enabled;
    if (want.enabled && (!board || !board->n_slots))
        return entry->is_for_all ? MIGLABEL_SKIPPED : error_set(err, -ENOENT, MIGWANT_NO_MIG);
    for (size_t i = 0; i < entry->n_counts && r == 0; i++)
        r = migwant_add(&want, board, entry->counts[i].profile, entry->counts[i].count, err);
    if (r == 0)
        *ret_want = want;
    return r;
}
