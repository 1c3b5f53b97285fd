// SPDX-License-Identifier: Apache-2.0

/*
 * Any bytes as a configuration of mig-parted: a configuration or errors, never both; every problem
 * is one line with a position inside the file; every entry that is read is consistent, also in a
 * file with errors.
 */

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config/load.h"
#include "problemcheck.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_entry(const struct migconfig_entry *entry)
{
    if (entry->enabled ? !entry->has_counts : entry->n_counts > 0)
        abort();
    if ((entry->is_for_all && entry->n_gpus) || (entry->n_filters && !entry->is_filtered))
        abort();
    for (size_t i = 0; i < entry->n_counts; i++)
        if (!entry->counts[i].count || !*entry->counts[i].profile)
            abort();
}

static void check_config(const struct migconfig *config)
{
    for (size_t i = 0; i < config->n_labels; i++)
        for (size_t j = 0; j < config->labels[i].n_entries; j++)
            check_entry(&config->labels[i].entries[j]);
}

static void parse_every(const uint8_t *data, size_t size)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_config_list struct config_list list = CONFIG_LIST_INIT;

    if (config_parse_every((const char *)data, size,
                           &(struct config_request){.source = "fuzz", .strictness = CONFIG_CHECK},
                           &problems, &list, NULL) < 0)
        return;
    for (size_t i = 0; i < list.n_items; i++)
        if (list.items[i].mig)
            check_config(list.items[i].mig);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    struct error err = ERROR_INIT;
    struct migconfig *config = NULL;
    int r = config_parse_mig((const char *)data, size, &(struct config_request){.source = "fuzz"},
                             &problems, &config, &err);

    if (r != 0 && r != -EBADMSG && r != -ENOMEM)
        abort();
    if ((r == 0) != (config != NULL) || (r == -EBADMSG) != (err.code != 0))
        abort();
    if (r != -ENOMEM && (r == 0) == (problems_count(&problems, PROBLEM_ERROR) > 0))
        abort();
    problemcheck(&problems, size);
    if (config)
        check_config(config);
    migconfig_free(config);
    parse_every(data, size);
    return 0;
}
