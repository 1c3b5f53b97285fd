// SPDX-License-Identifier: Apache-2.0
#include "cli/mig.h"

#include <string.h>

#include "base/text.h"
#include "slice/name.h"

static const char *const strategy_names[] = {
    [MIG_STRATEGY_NONE] = "none", [MIG_STRATEGY_SINGLE] = "single", [MIG_STRATEGY_MIXED] = "mixed"};

/* The guides in circulation ask for mig-1g.5gb under `single`, where that name does not exist. */
static void warn_name(const struct policy *policy, const struct sharing_entry *entry,
                      struct problems *problems)
{
    if (!name_is_mig(policy, entry->name) || policy->mig_strategy == MIG_STRATEGY_MIXED)
        return;
    if (policy->mig_strategy == MIG_STRATEGY_SINGLE)
        problem_add(problems, PROBLEM_WARNING, entry->at, entry->path,
                    "%s belongs to `migStrategy: mixed`; under single, MIG devices are called %s: "
                    "write `migStrategy: mixed`, or `name: %s`",
                    entry->name, NAME_GPU, NAME_GPU);
    else
        problem_add(problems, PROBLEM_WARNING, entry->at, entry->path,
                    "%s belongs to `migStrategy: mixed`; under none, no MIG device is published: "
                    "write `migStrategy: mixed`",
                    entry->name);
}

static bool speaks_of_mig(const struct policy *policy)
{
    if (policy->mig_strategy != MIG_STRATEGY_NONE || policy->n_mig_rules || policy->mig_on_demand)
        return true;
    for (size_t i = 0; i < policy->n_sharing; i++)
        if (name_is_mig(policy, policy->sharing[i].name))
            return true;
    return false;
}

static bool any_capable(const struct inventory *inventory)
{
    for (size_t i = 0; i < inventory->n_gpus; i++)
        if (inventory->gpus[i].mig_capable)
            return true;
    return false;
}

/* "NVIDIA A10G", or the models of a mixed machine joined by "and". */
static void add_models(const struct inventory *inventory, struct text *models)
{
    for (size_t i = 0; i < inventory->n_gpus; i++) {
        const char *model = inventory->gpus[i].model;
        bool seen = !*model;

        for (size_t j = 0; j < i && !seen; j++)
            seen = str_equal(inventory->gpus[j].model, model);
        if (!seen)
            text_addf(models, "%s%s", models->length ? " and " : "", model);
    }
}

static void warn_models(const struct policy *policy, const struct inventory *inventory,
                        struct problems *problems)
{
    cleanup_text struct text models = TEXT_INIT;

    add_models(inventory, &models);
    problem_add(problems, PROBLEM_WARNING, policy->mig_strategy_at, "flags.migStrategy",
                "the configuration speaks of MIG (migStrategy: %s), but MIG cannot partition %s: "
                "A30, A100, H100 and later data-centre GPUs can; share these GPUs by "
                "sharing.timeSlicing instead",
                strategy_names[policy->mig_strategy],
                models.length ? text_string(&models) : "these GPUs");
}

void mig_advise(const struct policy *policy, const struct inventory *inventory,
                struct problems *problems)
{
    if (!inventory) {
        for (size_t i = 0; i < policy->n_sharing; i++)
            warn_name(policy, &policy->sharing[i], problems);
        return;
    }
    if (inventory->n_gpus && speaks_of_mig(policy) && !any_capable(inventory))
        warn_models(policy, inventory, problems);
}
