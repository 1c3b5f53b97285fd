// SPDX-License-Identifier: Apache-2.0
#include "config/migexport.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"
#include "slice/migkind.h"

DEFINE_CLEANUP(struct migconfig *, migconfig_free)

static int compare_counts(const void *a, const void *b)
{
    const struct migconfig_count *x = a, *y = b;

    return strverscmp(x->profile, y->profile);
}

static int add_count(struct migconfig_entry *entry, const struct mig_board *board,
                     struct mig_kind kind, uint32_t count)
{
    struct migconfig_count *slot =
        array_push(&entry->counts, &entry->n_counts, &entry->counts_capacity, sizeof(*slot));

    if (!slot)
        return -ENOMEM;
    migkind_format(board, kind, slot->profile);
    slot->count = count;
    return 0;
}

int migexport_count(const struct mig_board *board, const struct mig_want *want,
                    struct migconfig_entry *entry)
{
    for (uint32_t i = 0; i < board->n_profiles; i++)
        for (uint32_t j = 0; j < board->profiles[i].n_computes; j++)
            if (want->counts[i][j] &&
                add_count(entry, board, (struct mig_kind){i, j}, want->counts[i][j]) < 0)
                return -ENOMEM;
    if (entry->n_counts)
        qsort(entry->counts, entry->n_counts, sizeof(*entry->counts), compare_counts);
    return 0;
}

static int count_devices(const struct inventory *machine, const struct gpu *gpu,
                         struct migconfig_entry *entry)
{
    const struct mig_board *board = inventory_board(machine, gpu);
    struct mig_want has;

    entry->enabled = gpu->mig_enabled;
    if (!board || !gpu->mig_enabled)
        return 0;
    migwant_of_layout(board, &gpu->layout, &has);
    return migexport_count(board, &has, entry);
}

static bool have_the_same(const struct migconfig_entry *a, const struct migconfig_entry *b)
{
    if (a->enabled != b->enabled || a->n_counts != b->n_counts)
        return false;
    for (size_t i = 0; i < a->n_counts; i++)
        if (a->counts[i].count != b->counts[i].count ||
            !str_equal(a->counts[i].profile, b->counts[i].profile))
            return false;
    return true;
}

static int compare_filters(const void *a, const void *b)
{
    const struct migconfig_filter *x = a, *y = b;

    return x->device_id < y->device_id ? -1 : x->device_id > y->device_id;
}

/* GPUs come in the order of their indices. */
static int add_gpu(struct migconfig_entry *entry, const struct gpu *gpu)
{
    struct migconfig_filter *filter;
    uint32_t *index =
        array_push(&entry->gpus, &entry->n_gpus, &entry->gpus_capacity, sizeof(*index));

    if (!index)
        return -ENOMEM;
    *index = gpu->index;
    for (size_t i = 0; i < entry->n_filters; i++)
        if (entry->filters[i].device_id == gpu->pci_device_id)
            return 0;
    filter =
        array_push(&entry->filters, &entry->n_filters, &entry->filters_capacity, sizeof(*filter));
    if (!filter)
        return -ENOMEM;
    filter->device_id = gpu->pci_device_id;
    qsort(entry->filters, entry->n_filters, sizeof(*filter), compare_filters);
    return 0;
}

/* The last entry is this GPU's alone; if an earlier one has the same layout, it goes there. */
static int merge_last(struct migconfig_label *label, const struct gpu *gpu)
{
    struct migconfig_entry *last = &label->entries[label->n_entries - 1];

    for (size_t i = 0; i + 1 < label->n_entries; i++) {
        if (!have_the_same(&label->entries[i], last))
            continue;
        free(last->counts);
        label->n_entries--;
        return add_gpu(&label->entries[i], gpu);
    }
    return add_gpu(last, gpu);
}

static bool has_model(const struct migconfig_entry *entry, uint32_t device_id)
{
    for (size_t i = 0; i < entry->n_filters; i++)
        if (entry->filters[i].device_id == device_id)
            return true;
    return false;
}

/* Says with `all` and without filters what can be said so. */
static void shorten(struct migconfig_label *label, const struct inventory *machine)
{
    size_t n_models = 0;

    for (size_t i = 0; i < machine->n_gpus; i++) {
        bool is_new = !*machine->gpus[i].unusable;

        for (size_t j = 0; j < i && is_new; j++)
            is_new = *machine->gpus[j].unusable ||
                     machine->gpus[j].pci_device_id != machine->gpus[i].pci_device_id;
        n_models += is_new;
    }
    for (size_t i = 0; i < label->n_entries; i++) {
        struct migconfig_entry *entry = &label->entries[i];
        size_t n_matching = 0;

        for (size_t j = 0; j < machine->n_gpus; j++)
            n_matching +=
                !*machine->gpus[j].unusable && has_model(entry, machine->gpus[j].pci_device_id);
        entry->is_for_all = n_matching == entry->n_gpus;
        entry->is_filtered = n_models > 1 && label->n_entries > 1;
    }
}

static int add_every(const struct inventory *machine, struct migconfig_label *label,
                     size_t *ret_skipped)
{
    for (size_t i = 0; i < machine->n_gpus; i++) {
        struct migconfig_entry *entry;

        if (*machine->gpus[i].unusable) {
            ++*ret_skipped;
            continue;
        }
        entry = array_push(&label->entries, &label->n_entries, &label->capacity, sizeof(*entry));
        if (!entry || count_devices(machine, &machine->gpus[i], entry) < 0 ||
            merge_last(label, &machine->gpus[i]) < 0)
            return -ENOMEM;
    }
    return 0;
}

int migexport_make(const struct inventory *machine, const char *label,
                   struct migconfig **ret_config, size_t *ret_skipped)
{
    cleanup(migconfig_free_p) struct migconfig *config = calloc(1, sizeof(*config));
    struct migconfig_label *only;
    size_t n_skipped = 0;

    if (!config)
        return -ENOMEM;
    only = array_push(&config->labels, &config->n_labels, &config->capacity, sizeof(*only));
    if (!only)
        return -ENOMEM;
    only->name = strdup(label);
    if (!only->name || add_every(machine, only, &n_skipped) < 0)
        return -ENOMEM;
    shorten(only, machine);
    *ret_skipped = n_skipped;
    *ret_config = TAKE_PTR(config);
    return 0;
}
