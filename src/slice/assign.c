// SPDX-License-Identifier: Apache-2.0
#include "slice/assign.h"

#include <errno.h>
#include <stdio.h>

#include "base/array.h"
#include "base/text.h"
#include "slice/lint.h"
#include "slice/name.h"
#include "slice/select.h"

struct assigner {
    const struct policy *policy;
    const struct plan *plan;
    struct problems *problems;
    const struct sharing_entry **assigned;
    bool *reached, *lost; /* scratch, one per device each */
};

static bool is_on_node(const struct assigner *a, const char *name)
{
    for (size_t i = 0; i < a->plan->n_devices; i++)
        if (select_is_called(&a->plan->devices[i], name))
            return true;
    return false;
}

/* True if another node may well have it under this policy. */
static bool is_elsewhere(const struct policy *policy, const char *name)
{
    for (size_t i = 0; i < policy->n_gpu_rules; i++)
        if (str_equal(policy->gpu_rules[i].name, name))
            return true;
    return str_equal(name, NAME_GPU);
}

/* The distinct resources of the node: "nvidia.com/a100 and nvidia.com/gpu", or "no GPU to offer".
 */
static void format_bases(const struct plan *plan, struct text *text)
{
    for (size_t i = 0; i < plan->n_devices; i++) {
        const struct plan_device *on = &plan->devices[i];
        bool seen = *on->left_out != '\0';

        for (size_t j = 0; j < i && !seen; j++)
            seen = !*plan->devices[j].left_out && str_equal(on->base, plan->devices[j].base);
        if (!seen)
            text_addf(text, "%s%s", text->length ? " and " : "", on->base);
    }
    if (text->length == 0)
        text_add(text, "no GPU to offer");
}

/* All devices of that resource are excluded by gpuslice.excludeDevices, and there is one. */
static bool are_excluded(const struct plan *plan, const char *name)
{
    size_t n = 0;

    for (size_t i = 0; i < plan->n_devices; i++) {
        if (!str_equal(plan->devices[i].base, name))
            continue;
        if (!plan->devices[i].excluded)
            return false;
        n++;
    }
    return n > 0;
}

static void report_absent(const struct assigner *a, const struct sharing_entry *entry)
{
    cleanup_text struct text bases = TEXT_INIT;

    if (a->plan->n_devices == 0)
        return; /* a node without GPUs reports nothing: the file is for the whole cluster */
    if (are_excluded(a->plan, entry->name)) {
        problem_add(a->problems, PROBLEM_NOTE, entry->at, entry->path,
                    "gpuslice.excludeDevices excludes every %s of this node", entry->name);
        return;
    }
    if (name_is_mig(a->policy, entry->name)) {
        if (!lint_mig_name(a->policy, entry, a->problems))
            problem_add(a->problems, PROBLEM_NOTE, entry->at, entry->path,
                        "the resource %s has no MIG device on this node", entry->name);
        return;
    }
    format_bases(a->plan, &bases);
    problem_add(a->problems, is_elsewhere(a->policy, entry->name) ? PROBLEM_NOTE : PROBLEM_WARNING,
                entry->at, entry->path, "no GPU of this node is a %s; the node has %s", entry->name,
                text_string(&bases));
}

/*
 * MPS cannot serve a GPU in MIG mode as a whole. Each MIG device could have its own daemon, but
 * NVIDIA's plugin starts none, and neither do we yet.
 */
static void refuse_mig(const struct assigner *a, const struct sharing_entry *entry)
{
    const struct plan *plan = a->plan;
    char list[128];
    size_t n = 0;

    for (size_t i = 0; i < plan->n_devices; i++) {
        a->lost[i] = a->reached[i] && policy_sharing(entry) == SHARING_MPS &&
                     plan_gpu(plan, &plan->devices[i])->mig_enabled;
        a->reached[i] = a->reached[i] && !a->lost[i];
        n += a->lost[i];
    }
    if (n == 0)
        return;
    select_format(plan, a->lost, list, sizeof(list));
    problem_add(a->problems, PROBLEM_WARNING, entry->at, entry->path,
                plan_has_mig_devices(plan)
                    ? "%s cannot be shared by MPS; use timeSlicing"
                    : "%s has MIG enabled and cannot be shared by MPS; turn MIG off or use "
                      "timeSlicing",
                list);
}

/* "sharing.mps.resources[0] (line 20, column 5)" */
static void format_entry(const struct sharing_entry *entry, char *buffer, size_t size)
{
    if (entry->at.line)
        snprintf(buffer, size, "%s (line %u, column %u)", entry->path, entry->at.line,
                 entry->at.column);
    else
        snprintf(buffer, size, "%s", entry->path);
}

/* Removes from `reached` what winner already has; reports it, unless config/ did. */
static void yield_to(const struct assigner *a, const struct sharing_entry *loser,
                     const struct sharing_entry *winner)
{
    bool by_strategy = winner->strategy != loser->strategy;
    char list[128], first[112];
    size_t n = 0;

    for (size_t i = 0; i < a->plan->n_devices; i++) {
        a->lost[i] = a->reached[i] && a->assigned[i] == winner;
        a->reached[i] = a->reached[i] && !a->lost[i];
        n += a->lost[i];
    }
    if (n == 0 || select_is_rest(winner, loser) || select_surely_overlap(winner, loser))
        return;
    select_format(a->plan, a->lost, list, sizeof(list));
    format_entry(winner, first, sizeof(first));
    problem_add(a->problems, PROBLEM_ERROR, loser->at, loser->path,
                "%s %s %s by %s already, and %s; name other GPUs in devices", list,
                n == 1 ? "is" : "are", winner->replicas > 1 ? "shared" : "taken", first,
                by_strategy ? "MPS wins over time slicing" : "the first entry wins");
}

static void assign_entry(const struct assigner *a, const struct sharing_entry *entry)
{
    if (!is_on_node(a, entry->name)) {
        report_absent(a, entry);
        return;
    }
    select_devices(entry, a->plan, a->problems, a->reached);
    refuse_mig(a, entry);
    for (size_t i = 0; i < a->policy->n_sharing; i++)
        yield_to(a, entry, &a->policy->sharing[i]);
    for (size_t i = 0; i < a->plan->n_devices; i++)
        if (a->reached[i])
            a->assigned[i] = entry;
}

int assign_devices(const struct policy *policy, const struct plan *plan, struct problems *problems,
                   const struct sharing_entry **ret_assigned)
{
    static const enum sharing_strategy order[] = {SHARING_MPS, SHARING_TIME_SLICING};
    cleanup_free bool *reached = calloc(plan->n_devices + 1, sizeof(*reached));
    cleanup_free bool *lost = calloc(plan->n_devices + 1, sizeof(*lost));
    struct assigner a = {policy, plan, problems, ret_assigned, reached, lost};

    if (!reached || !lost)
        return -ENOMEM;
    for (size_t i = 0; i < plan->n_devices; i++)
        ret_assigned[i] = NULL;
    for (size_t s = 0; s < ARRAY_SIZE(order); s++)
        for (size_t i = 0; i < policy->n_sharing; i++)
            if (policy->sharing[i].strategy == order[s])
                assign_entry(&a, &policy->sharing[i]);
    return 0;
}
