// SPDX-License-Identifier: Apache-2.0
#include "slice/lint.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>

#include "base/text.h"
#include "slice/migability.h"
#include "slice/migstep.h"
#include "slice/migwant.h"
#include "slice/name.h"
#include "slice/namepool.h"
#include "slice/select.h"
#include "slice/share.h"

struct linter {
    const struct plan *plan;
    const struct policy *policy;
    struct problems *problems;
};

static void on_small_memory(const struct linter *a, const struct plan_resource *resource)
{
    uint64_t least = UINT64_MAX;

    for (size_t i = 0; i < resource->n_slices; i++)
        if (resource->slices[i].mem_bytes > 0 && resource->slices[i].mem_bytes < least)
            least = resource->slices[i].mem_bytes;
    if (resource->sharing == SHARING_NONE || least / SHARE_MIB >= LINT_CONTEXT_MIB)
        return;
    problem_add(
        a->problems, PROBLEM_WARNING, resource->at, resource->path,
        "a slice of %s has %s%ju MiB, but a CUDA context alone takes about %d MiB (measured on "
        "an H100); make fewer or larger slices",
        resource->name, least < SHARE_MIB ? "less than " : "",
        (uintmax_t)(least < SHARE_MIB ? 1 : least / SHARE_MIB), LINT_CONTEXT_MIB);
}

static void on_no_share(const struct linter *a, const struct plan_resource *resource)
{
    for (size_t i = 0; i < resource->n_slices; i++) {
        if (resource->slices[i].share_permille > 0)
            continue;
        problem_add(
            a->problems, PROBLEM_WARNING, resource->at, resource->path,
            "some slices of %s have a compute share of 0 permille, because a GPU is cut into "
            "more than %d; make fewer replicas",
            resource->name, SHARE_WHOLE);
        return;
    }
}

static unsigned mps_clients(const struct gpu *gpu)
{
    return gpu->cc_major > 0 && gpu->cc_major < 7 ? LINT_MPS_CLIENTS_PRE_VOLTA : LINT_MPS_CLIENTS;
}

static void on_many_clients(const struct linter *a, const struct plan_resource *resource)
{
    for (size_t i = 0; i < resource->n_slices; i++) {
        const struct plan_device *on = &a->plan->devices[resource->slices[i].device];
        const unsigned clients = mps_clients(plan_gpu(a->plan, on));
        char name[DEVICE_NAME_SIZE];

        if (on->sharing != SHARING_MPS || on->n_slices <= clients)
            continue;
        problem_add(a->problems, PROBLEM_WARNING, resource->at, resource->path,
                    "%s is cut into %zu slices, but MPS takes %u clients at once on this model; "
                    "programs beyond that fail to start",
                    plan_device_name(a->plan, on, name), on->n_slices, clients);
        return;
    }
}

/* Unshared devices beside slices, strategies or sizes mixed; 1 permille is only the remainder. */
static void on_mixed(const struct linter *a, const struct plan_resource *resource)
{
    unsigned least = UINT_MAX, most = 0;
    bool strategies = false;

    for (size_t i = 0; i < resource->n_slices; i++) {
        const struct slice *slice = &resource->slices[i];

        least = slice->share_permille < least ? slice->share_permille : least;
        most = slice->share_permille > most ? slice->share_permille : most;
        strategies |= a->plan->devices[slice->device].sharing != resource->sharing;
    }
    if (!strategies && most - least <= 1)
        return;
    problem_add(
        a->problems, PROBLEM_WARNING, resource->at, resource->path,
        "%s mixes %s (%u to %u permille of a GPU), and a pod cannot choose among them; give "
        "each kind a name of its own by rename",
        resource->name, strategies ? "ways of sharing" : "sizes", least, most);
}

/* migStrategy none offers such a GPU like any other; NVIDIA's plugin does so too. */
static void on_mig_parents(const struct linter *a)
{
    for (size_t i = 0; i < a->plan->n_devices; i++) {
        const struct plan_device *on = &a->plan->devices[i];
        const struct gpu *gpu = plan_gpu(a->plan, on);

        if (on->device.kind == DEVICE_WHOLE && gpu->mig_enabled && !*on->left_out)
            problem_add(a->problems, PROBLEM_WARNING, a->policy->mig_strategy_at,
                        "flags.migStrategy",
                        "GPU %u has MIG enabled but is offered as a whole, because migStrategy is "
                        "'none': CUDA programs on it see its first MIG device only, or none",
                        gpu->index);
    }
}

static void on_unmatched_models(const struct linter *a)
{
    const struct policy *policy = a->policy;

    for (size_t i = 0; i < a->plan->n_devices && policy->n_gpu_rules > 0; i++) {
        const struct plan_device *on = &a->plan->devices[i];
        const struct gpu *gpu = plan_gpu(a->plan, on);

        if (on->device.kind == DEVICE_WHOLE && !*on->left_out &&
            !name_find_rule(policy, gpu->model))
            problem_add(a->problems, PROBLEM_NOTE, policy->gpu_rules[0].at, "resources.gpus",
                        "no pattern matches GPU %u (%s), so it is a " NAME_GPU, gpu->index,
                        gpu->model);
    }
}

/* What gpuslice.slices leaves over, and whether it reaches a GPU at all. */
static void on_sizes(const struct linter *a)
{
    const struct policy *policy = a->policy;
    bool offered = false, cut = false;
    unsigned long long sum = 0;

    if (policy->n_slices == 0)
        return;
    for (size_t k = 0; k < policy->n_slices; k++) {
        sum += (unsigned long long)policy->slices[k].share_permille * policy->slices[k].count;
        cut |= plan_find_resource(a->plan, policy->slices[k].name) != NULL;
    }
    for (size_t i = 0; i < a->plan->n_devices; i++)
        offered |=
            a->plan->devices[i].device.kind == DEVICE_WHOLE && !*a->plan->devices[i].left_out;
    if (offered && !cut && !select_find_taker_of_all(policy))
        problem_add(a->problems, PROBLEM_WARNING, policy->slices[0].at, "gpuslice.slices",
                    "every GPU of this node is taken by sharing, so no such slice is offered; name "
                    "fewer GPUs in sharing's devices");
    else if (cut && sum < SHARE_WHOLE)
        problem_add(a->problems, PROBLEM_NOTE, policy->slices[0].at, "gpuslice.slices",
                    "the slices add up to %llu.%llu %% of a GPU; the rest stays unused", sum / 10,
                    sum % 10);
}

static uint64_t sum_memory(const struct plan *plan, size_t device)
{
    uint64_t bytes = 0;

    for (size_t r = 0; r < plan->n_resources; r++)
        for (size_t i = 0; i < plan->resources[r].n_slices; i++)
            if (plan->resources[r].slices[i].device == device &&
                !plan->resources[r].slices[i].is_second)
                bytes += plan->resources[r].slices[i].mem_bytes;
    return bytes;
}

/* Said of the first one: what one asked for is easily forgotten. */
static void on_overcommit(const struct linter *a)
{
    char name[DEVICE_NAME_SIZE];

    for (size_t i = 0; a->plan->overcommits && i < a->plan->n_devices; i++) {
        const struct plan_device *on = &a->plan->devices[i];
        const uint64_t has = share_memory_mib(&on->device), given = sum_memory(a->plan, i);

        if (!has || given <= has * SHARE_MIB)
            continue;
        problem_add(a->problems, PROBLEM_WARNING, a->policy->overcommits_at, "gpuslice.overcommit",
                    "the memory limits of the slices of %s add up to %ju MiB, %ju %% of what it "
                    "has: one that keeps to its limit may still run out of memory",
                    plan_device_name(a->plan, on, name), (uintmax_t)(given / SHARE_MIB),
                    (uintmax_t)(given / SHARE_MIB * 100 / has));
        return;
    }
}

static size_t count_pool(const struct plan *plan)
{
    size_t n = 0;

    for (size_t i = 0; i < plan->n_devices; i++)
        n += *plan->devices[i].second != '\0';
    return n;
}

/* The lists of both resources have every device: their sum counts devices twice. */
static void on_two_names(const struct linter *a)
{
    const size_t n = count_pool(a->plan);
    const size_t n_second = namepool_split(n, a->policy->mig_split_permille);
    const struct plan_device *first = NULL;

    for (size_t i = 0; i < a->plan->n_devices && !first; i++)
        if (*a->plan->devices[i].second)
            first = &a->plan->devices[i];
    if (first)
        problem_add(a->problems, PROBLEM_NOTE, a->policy->mig_names_at, "gpuslice.mig.names",
                    "%zu MIG device%s offered as %s and as %s, each under one name at a time: %zu "
                    "and %zu while no pod waits",
                    n, n == 1 ? " is" : "s are", plan_resource_of(a->plan, first, false)->name,
                    plan_resource_of(a->plan, first, true)->name, n - n_second, n_second);
}

void lint_plan(const struct plan *plan, const struct policy *policy, struct problems *problems)
{
    static void (*const on_resource[])(const struct linter *, const struct plan_resource *) = {
        on_small_memory, on_no_share, on_many_clients, on_mixed};
    static void (*const on_plan[])(const struct linter *) = {on_mig_parents, on_unmatched_models,
                                                             on_sizes, on_overcommit, on_two_names};
    struct linter a = {plan, policy, problems};

    for (size_t i = 0; i < plan->n_resources; i++)
        for (size_t k = 0; k < sizeof(on_resource) / sizeof(on_resource[0]); k++)
            on_resource[k](&a, &plan->resources[i]);
    for (size_t k = 0; k < sizeof(on_plan) / sizeof(on_plan[0]); k++)
        on_plan[k](&a);
}

/* ---- What MIG cannot do for a policy ---- */

bool lint_mig_name(const struct policy *policy, const struct sharing_entry *entry,
                   struct problems *problems)
{
    if (!name_is_mig(policy, entry->name) || policy->mig_strategy == MIG_STRATEGY_MIXED ||
        (policy->mig_strategy == MIG_STRATEGY_SINGLE && policy->mig_names == MIG_NAMES_BOTH))
        return false;
    if (policy->mig_strategy == MIG_STRATEGY_SINGLE)
        problem_add(problems, PROBLEM_WARNING, entry->at, entry->path,
                    "%s exists only with `migStrategy: mixed`; under single, MIG devices are "
                    "called %s: write `migStrategy: mixed`, or `name: %s`, or offer them under "
                    "both names by `gpuslice: {mig: {names: both}}`",
                    entry->name, NAME_GPU, NAME_GPU);
    else
        problem_add(problems, PROBLEM_WARNING, entry->at, entry->path,
                    "%s exists only with `migStrategy: mixed`; under none, no MIG device is "
                    "published: write `migStrategy: mixed`",
                    entry->name);
    return true;
}

void lint_policy(const struct policy *policy, struct problems *problems)
{
    for (size_t i = 0; i < policy->n_sharing; i++)
        lint_mig_name(policy, &policy->sharing[i], problems);
}

/* What in the configuration is of no use without MIG. */
struct mig_use {
    struct position at;
    const char *path;  /* NULL = nothing is */
    const char *words; /* as one would write it */
};

static struct mig_use find_mig_use(const struct policy *policy)
{
    if (policy->mig_strategy != MIG_STRATEGY_NONE)
        return (struct mig_use){policy->mig_strategy_at, "flags.migStrategy",
                                policy->mig_strategy == MIG_STRATEGY_SINGLE ? "migStrategy: single"
                                                                            : "migStrategy: mixed"};
    if (policy->mig_layout && !str_equal(policy->mig_layout, "all-disabled"))
        return (struct mig_use){policy->mig_layout_at, "gpuslice.mig.layout", policy->mig_layout};
    if (policy->n_mig_rules)
        return (struct mig_use){policy->mig_rules[0].at, "resources.mig", "resources.mig"};
    if (policy->mig_on_demand)
        return (struct mig_use){policy->mig_on_demand_at, "gpuslice.mig.onDemand",
                                "onDemand: true"};
    for (size_t i = 0; i < policy->n_sharing; i++)
        if (name_is_mig(policy, policy->sharing[i].name))
            return (struct mig_use){policy->sharing[i].at, policy->sharing[i].path,
                                    policy->sharing[i].name};
    return (struct mig_use){.path = NULL};
}

static bool any_capable(const struct inventory *inventory)
{
    for (size_t i = 0; i < inventory->n_gpus; i++)
        if (inventory->gpus[i].mig_capable || inventory->gpus[i].gaps[FACT_MIG])
            return true;
    return false;
}

static bool all_known(const struct inventory *inventory)
{
    for (size_t i = 0; i < inventory->n_gpus; i++)
        if (inventory->gpus[i].gaps[FACT_MIG])
            return false;
    return true;
}

/* "NVIDIA A10G", or the models of a mixed machine joined with "and". */
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

/* A guide is most likely why the configuration asks for it. */
static const char *claim_of(const struct inventory *inventory)
{
    for (size_t i = 0; i < inventory->n_gpus; i++)
        if (*migability_claim(inventory->gpus[i].model))
            return migability_claim(inventory->gpus[i].model);
    return "";
}

static bool is_model_seen(const struct inventory *inventory, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (str_equal(inventory->gpus[j].model, inventory->gpus[i].model))
            return true;
    return false;
}

/* 0, or -ENOENT or -ERANGE with the end of a sentence about the GPU. A name that is not built in is
 * a label of a file. */
static int check_room(const struct mig_board *board, const char *layout, struct error *err)
{
    const struct mig_layout empty = {.enabled = true, .pending = true};
    struct mig_next next;
    struct mig_want want;
    int r = migwant_builtin(board, layout, &want, err);

    if (r != 0 || !want.enabled)
        return r < 0 ? r : 0;
    migstep_next(board, &empty, &want, NULL, 0, &next);
    return next.step.kind == MIG_STEP_IMPOSSIBLE ? error_set(err, -ENOENT, "%s", next.reason) : 0;
}

/* What gpuslice.mig.layout wants and a model cannot have. True if every GPU that can be partitioned
 * can have it, as far as is known. */
static bool lint_layout(const struct policy *policy, const struct inventory *inventory,
                        struct problems *problems)
{
    bool fits = true;

    for (size_t i = 0; i < inventory->n_gpus; i++) {
        const struct gpu *gpu = &inventory->gpus[i];
        const struct mig_board *board = inventory_board(inventory, gpu);
        struct error err = ERROR_INIT;

        if (!board || !board->n_slots || is_model_seen(inventory, i) ||
            check_room(board, policy->mig_layout, &err) == 0)
            continue;
        fits = false;
        problem_add(problems, PROBLEM_WARNING, policy->mig_layout_at, "gpuslice.mig.layout",
                    "GPU %u (%s) %s", gpu->index, gpu->model, error_text(&err));
    }
    return fits;
}

/* A strategy says how MIG devices are offered, and makes none. */
static void lint_mode(const struct policy *policy, const struct inventory *inventory,
                      struct problems *problems)
{
    const struct mig_board *board = NULL;
    char layout[DEVICE_PROFILE_SIZE + 8] = "";

    for (size_t i = 0; i < inventory->n_gpus; i++) {
        const struct gpu *gpu = &inventory->gpus[i];

        if (gpu->mig_enabled || gpu->layout.pending)
            return;
        if (!board && gpu->mig_capable)
            board = inventory_board(inventory, gpu);
    }
    if (policy->mig_layout && str_equal(policy->mig_layout, "all-disabled"))
        return;
    if (policy->mig_layout) {
        problem_add(problems, PROBLEM_NOTE, policy->mig_layout_at, "gpuslice.mig.layout",
                    "MIG is off on every GPU of this node; with mig.partition of the chart "
                    "(--mig-partition) the layout %s partitions them, and until then they are "
                    "offered whole",
                    policy->mig_layout);
        return;
    }
    /* Without a board no profile is known to be one of these GPUs'. */
    if (board && board->n_profiles)
        snprintf(layout, sizeof(layout), "=all-%s", board->profiles[0].name);
    problem_add(problems, PROBLEM_NOTE, policy->mig_strategy_at, "flags.migStrategy",
                "migStrategy: %s offers MIG devices and makes none, and MIG is off on every GPU of "
                "this node, so they are offered whole; with mig.partition of the chart "
                "(--mig-partition) the label nvidia.com/mig.config%s on the Node partitions them",
                policy->mig_strategy == MIG_STRATEGY_SINGLE ? "single" : "mixed", layout);
}

/* Under `single` those that are offered are of one profile; where whole GPUs win, there are none.
 */
static const struct plan_device *find_offered_mig(const struct plan *plan)
{
    for (size_t i = 0; i < plan->n_devices; i++)
        if (plan->devices[i].device.kind == DEVICE_MIG && !*plan->devices[i].left_out)
            return &plan->devices[i];
    return NULL;
}

/* The name that guides give pods to request. */
void lint_names(const struct policy *policy, const struct plan *plan, struct problems *problems)
{
    const struct plan_device *on = find_offered_mig(plan);
    char name[RESOURCE_NAME_SIZE];

    if (policy->mig_strategy != MIG_STRATEGY_SINGLE || policy->mig_names == MIG_NAMES_BOTH || !on ||
        name_mig(on->device.profile, name, NULL) < 0)
        return;
    problem_add(problems, PROBLEM_NOTE, policy->mig_strategy_at, "flags.migStrategy",
                "migStrategy: single offers the MIG devices of this node as " NAME_GPU
                "; the name %s belongs to migStrategy: mixed, and a pod that requests it finds no "
                "node under single, unless gpuslice.mig.names: both offers them under both names",
                name);
}

void lint_models(const struct policy *policy, const struct inventory *inventory,
                 struct problems *problems)
{
    const struct mig_use use = find_mig_use(policy);
    cleanup_text struct text models = TEXT_INIT;

    if (inventory->n_gpus == 0 || !use.path)
        return;
    if (any_capable(inventory)) {
        if (policy->mig_layout && !lint_layout(policy, inventory, problems))
            return;
        if (policy->mig_strategy != MIG_STRATEGY_NONE && all_known(inventory))
            lint_mode(policy, inventory, problems);
        return;
    }
    add_models(inventory, &models);
    problem_add(
        problems, PROBLEM_WARNING, use.at, use.path,
        "the configuration requires MIG (%s), but MIG cannot partition %s: " MIGABILITY_MODELS
        " can; share these GPUs with sharing.timeSlicing instead%s",
        use.words, models.length ? text_string(&models) : "these GPUs", claim_of(inventory));
}
