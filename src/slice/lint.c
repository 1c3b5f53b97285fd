// SPDX-License-Identifier: Apache-2.0
#include "slice/lint.h"

#include <limits.h>
#include <stdint.h>

#include "slice/name.h"
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
        "a slice of %s has %ju MiB, but a CUDA context alone takes about %d MiB (measured on "
        "an H100); make fewer or larger slices",
        resource->name, (uintmax_t)(least / SHARE_MIB), LINT_CONTEXT_MIB);
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
    return gpu->cc_major > 0 && gpu->cc_major < 7 ? LINT_MPS_CLIENTS_PRE_VOLTA
                                                  : LINT_MPS_CLIENTS;
}

static void on_many_clients(const struct linter *a, const struct plan_resource *resource)
{
    for (size_t i = 0; i < resource->n_slices; i++) {
        const struct plan_gpu *gpu = &a->plan->gpus[resource->slices[i].gpu];

        if (gpu->sharing != SHARING_MPS || gpu->n_slices <= mps_clients(&gpu->gpu))
            continue;
        problem_add(
            a->problems, PROBLEM_WARNING, resource->at, resource->path,
            "GPU %u is cut into %zu slices, but MPS takes %u clients at once on this model; "
            "programs beyond that fail to start",
            gpu->gpu.index, gpu->n_slices, mps_clients(&gpu->gpu));
        return;
    }
}

/* Whole GPUs beside slices, strategies or sizes mixed; 1 permille is only the remainder's. */
static void on_mixed(const struct linter *a, const struct plan_resource *resource)
{
    unsigned least = UINT_MAX, most = 0;
    bool strategies = false;

    for (size_t i = 0; i < resource->n_slices; i++) {
        const struct slice *slice = &resource->slices[i];

        least = slice->share_permille < least ? slice->share_permille : least;
        most = slice->share_permille > most ? slice->share_permille : most;
        strategies |= a->plan->gpus[slice->gpu].sharing != resource->sharing;
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
    for (size_t i = 0; i < a->plan->n_gpus; i++) {
        const struct plan_gpu *gpu = &a->plan->gpus[i];

        if (gpu->gpu.mig_enabled && !*gpu->left_out)
            problem_add(a->problems, PROBLEM_WARNING, a->policy->mig_strategy_at,
                        "flags.migStrategy",
                        "GPU %u has MIG enabled but is offered as a whole, because migStrategy is "
                        "'none': CUDA programs on it see its first MIG device only, or none",
                        gpu->gpu.index);
    }
}

static void on_unmatched_models(const struct linter *a)
{
    const struct policy *policy = a->policy;

    for (size_t i = 0; i < a->plan->n_gpus; i++) {
        const struct plan_gpu *gpu = &a->plan->gpus[i];

        if (policy->n_gpu_rules > 0 && !*gpu->left_out && !name_find_rule(policy, gpu->gpu.model))
            problem_add(a->problems, PROBLEM_NOTE, policy->gpu_rules[0].at, "resources.gpus",
                        "no pattern matches GPU %u (%s), so it is a " NAME_GPU, gpu->gpu.index,
                        gpu->gpu.model);
    }
}

/* What gpuslice.slices leaves over, and whether it meets a GPU at all. */
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
    for (size_t i = 0; i < a->plan->n_gpus; i++)
        offered |= !*a->plan->gpus[i].left_out;
    if (offered && !cut && !select_find_taker_of_all(policy))
        problem_add(a->problems, PROBLEM_WARNING, policy->slices[0].at, "gpuslice.slices",
                    "every GPU of this node is taken by sharing, so no such slice is offered; name "
                    "fewer GPUs in sharing's devices");
    else if (cut && sum < SHARE_WHOLE)
        problem_add(a->problems, PROBLEM_NOTE, policy->slices[0].at, "gpuslice.slices",
                    "the slices add up to %llu.%llu %% of a GPU; the rest stays unused", sum / 10,
                    sum % 10);
}

void lint_plan(const struct plan *plan, const struct policy *policy, struct problems *problems)
{
    static void (*const on_resource[])(const struct linter *, const struct plan_resource *) = {
        on_small_memory, on_no_share, on_many_clients, on_mixed};
    static void (*const on_plan[])(const struct linter *) = {on_mig_parents, on_unmatched_models,
                                                              on_sizes};
    struct linter a = {plan, policy, problems};

    for (size_t i = 0; i < plan->n_resources; i++)
        for (size_t k = 0; k < sizeof(on_resource) / sizeof(on_resource[0]); k++)
            on_resource[k](&a, &plan->resources[i]);
    for (size_t k = 0; k < sizeof(on_plan) / sizeof(on_plan[0]); k++)
        on_plan[k](&a);
}
