// SPDX-License-Identifier: Apache-2.0

/*
 * Any bytes as a configuration file, for the agent and for `gpuslice check`: a configuration or
 * errors, never both, and of every key what can be read; every problem is one line with a position
 * inside the file; what the agent rejects, `check` rejects too.
 */

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config/load.h"
#include "problemcheck.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_policy(const struct policy *policy)
{
    unsigned sum_permille = 0;

    for (size_t i = 0; i < policy->n_sharing; i++) {
        const struct sharing_entry *entry = &policy->sharing[i];

        if (entry->replicas < 1 || !*entry->name || entry->strategy == SHARING_NONE)
            abort();
        if (i && entry->strategy < policy->sharing[i - 1].strategy)
            abort();
    }
    for (size_t i = 0; i < policy->n_slices; i++)
        sum_permille += policy->slices[i].share_permille * policy->slices[i].count;
    if (sum_permille > 1000)
        abort();
}

static int parse(const uint8_t *data, size_t size, enum config_strictness strictness)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    struct error err = ERROR_INIT;
    struct config *config = NULL;
    int r = config_parse((const char *)data, size,
                         &(struct config_request){.source = "fuzz", .strictness = strictness},
                         &problems, &config, &err);

    if (r != 0 && r != -EBADMSG && r != -ENOMEM)
        abort();
    if ((r == 0) != (config != NULL) || (r == -EBADMSG) != (err.code != 0))
        abort();
    if (r != -ENOMEM && (r == 0) == (problems_count(&problems, PROBLEM_ERROR) > 0))
        abort();
    problemcheck(&problems, size);
    if (config)
        check_policy(&config->policy);
    config_free(config);
    return r;
}

/* What is left of any file, even of a refused one, is a policy that a plan can be made of. */
static void parse_every(const uint8_t *data, size_t size, enum config_strictness strictness)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_config_list struct config_list list = CONFIG_LIST_INIT;
    cleanup_text struct text keys = TEXT_INIT;

    if (config_parse_every((const char *)data, size,
                           &(struct config_request){.source = "fuzz", .strictness = strictness},
                           &problems, &list, NULL) < 0)
        return;
    problemcheck(&problems, size);
    if (!list.n_items && !problems_count(&problems, PROBLEM_ERROR))
        abort();
    for (size_t i = 0; i < list.n_items; i++) {
        if (!list.items[i].config == !list.items[i].mig)
            abort();
        if (list.items[i].config)
            check_policy(&list.items[i].config->policy);
    }
    config_list_keys((const char *)data, size, &keys);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int agent = parse(data, size, CONFIG_AGENT), check = parse(data, size, CONFIG_CHECK);

    if (agent == -EBADMSG && check == 0)
        abort();
    parse_every(data, size, CONFIG_AGENT);
    parse_every(data, size, CONFIG_CHECK);
    return 0;
}
