// SPDX-License-Identifier: Apache-2.0
#include "config/miggenerate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"
#include "config/migexport.h"
#include "slice/migwant.h"

DEFINE_CLEANUP(struct migconfig *, migconfig_free)

static struct migconfig_label *find_label(struct migconfig *config, const char *name)
{
    struct migconfig_label *label;

    for (size_t i = 0; i < config->n_labels; i++)
        if (str_equal(config->labels[i].name, name))
            return &config->labels[i];
    label = array_push(&config->labels, &config->n_labels, &config->capacity, sizeof(*label));
    if (!label)
        return NULL;
    label->name = strdup(name);
    if (!label->name)
        config->n_labels--;
    return label->name ? label : NULL;
}

static bool have_the_same_counts(const struct migconfig_entry *a, const struct migconfig_entry *b)
{
    bool same = a->n_counts == b->n_counts;

    for (size_t i = 0; i < a->n_counts && same; i++)
        same = a->counts[i].count == b->counts[i].count &&
               str_equal(a->counts[i].profile, b->counts[i].profile);
    return same;
}

static int add_model(struct migconfig_entry *entry, uint32_t device_id)
{
    struct migconfig_filter *filter =
        array_push(&entry->filters, &entry->n_filters, &entry->filters_capacity, sizeof(*filter));

    if (!filter)
        return -ENOMEM;
    filter->device_id = device_id;
    return 0;
}

/* Models that get the same share an entry. */
static int add_entry(struct migconfig_label *label, const struct mig_board *board,
                     const struct mig_want *want, uint32_t device_id)
{
    struct migconfig_entry *entry =
        array_push(&label->entries, &label->n_entries, &label->capacity, sizeof(*entry));

    if (!entry)
        return -ENOMEM;
    entry->is_for_all = true;
    entry->enabled = want->enabled;
    if (migexport_count(board, want, entry) < 0)
        return -ENOMEM;
    for (size_t i = 0; i + 1 < label->n_entries; i++) {
        if (!have_the_same_counts(&label->entries[i], entry))
            continue;
        free(entry->counts);
        label->n_entries--;
        return add_model(&label->entries[i], device_id);
    }
    return add_model(entry, device_id);
}

static int add_board(struct migconfig *config, const struct mig_board *board, uint32_t device_id)
{
    cleanup_text struct text names = TEXT_INIT;
    char *rest, *name;

    migwant_add_builtins(board, "\n", &names);
    if (text_failed(&names))
        return -ENOMEM;
    rest = names.data;
    while ((name = strsep(&rest, "\n"))) {
        struct migconfig_label *label = find_label(config, name);
        struct mig_want want;

        if (!label)
            return -ENOMEM;
        if (migwant_builtin(board, name, &want, NULL) == 0 &&
            add_entry(label, board, &want, device_id) < 0)
            return -ENOMEM;
    }
    return 0;
}

static bool is_new_model(const struct inventory *machine, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (machine->gpus[j].pci_device_id == machine->gpus[i].pci_device_id)
            return false;
    return true;
}

/* What is for every model of the machine needs no filter; modes never do. */
static void set_filters(struct migconfig *config, size_t n_models)
{
    for (size_t i = 0; i < config->n_labels; i++)
        for (size_t j = 0; j < config->labels[i].n_entries; j++) {
            struct migconfig_entry *entry = &config->labels[i].entries[j];

            entry->is_filtered = n_models > 1 && entry->n_counts;
        }
}

int miggenerate_make(const struct inventory *machine, struct migconfig **ret_config)
{
    cleanup(migconfig_free_p) struct migconfig *config = calloc(1, sizeof(*config));
    size_t n_models = 0;

    if (!config)
        return -ENOMEM;
    for (size_t i = 0; i < machine->n_gpus; i++) {
        const struct mig_board *board = inventory_board(machine, &machine->gpus[i]);
        bool is_new = is_new_model(machine, i);

        n_models += is_new;
        if (is_new && board && board->n_slots &&
            add_board(config, board, machine->gpus[i].pci_device_id) < 0)
            return -ENOMEM;
    }
    if (!config->n_labels)
        return MIGGENERATE_NO_MIG;
    set_filters(config, n_models);
    *ret_config = TAKE_PTR(config);
    return 0;
}
