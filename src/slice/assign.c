// SPDX-License-Identifier: Apache-2.0
#include "slice/assign.h"

#include <errno.h>
#include <stdio.h>

#include "base/text.h"
#include "slice/name.h"
#include "slice/select.h"

struct assigner {
    const struct policy *policy;
    const struct plan_gpu *gpus;
    size_t n_gpus;
    struct problems *problems;
    const struct sharing_entry **assigned;
    bool *reached, *lost; /* scratch, n_gpus each */
};

static bool is_on_node(const struct assigner *c, const char *name)
{
    for (size_t i = 0; i < c->n_gpus; i++)
        if (!*c->gpus[i].left_out && str_equal(c->gpus[i].base, name))
            return true;
    return false;
}

/* True when some other node may well have it under this policy. */
static bool is_elsewhere(const struct policy *policy, const char *name)
{
    for (size_t i = 0; i < policy->n_gpu_rules; i++)
        if (str_equal(policy->gpu_rules[i].name, name))
            return true;
    return str_equal(name, NAME_GPU);
}

/* The distinct resources of the node: "nvidia.com/a100 and nvidia.com/gpu", or "no GPU to offer".
 */
static void format_bases(const struct assigner *c, struct text *text)
{
    for (size_t i = 0; i < c->n_gpus; i++) {
        bool seen = *c->gpus[i].left_out != '\0';

        for (size_t j = 0; j < i && !seen; j++)
            seen = !*c->gpus[j].left_out && str_equal(c->gpus[i].base, c->gpus[j].base);
        if (!seen)
            text_addf(text, "%s%s", text->length ? " and " : "", c->gpus[i].base);
    }
    if (text->length == 0)
        text_add(text, "no GPU to offer");
}

static void say_absent_mig(const struct assigner *c, const struct sharing_entry *entry)
{
    static const struct {
        enum problem_severity severity;
        const char *sentence;
    } by_strategy[] = {
        [MIG_STRATEGY_NONE] = {PROBLEM_WARNING,
                               "belongs to migStrategy 'mixed', but migStrategy is "
                               "'none', which offers no MIG device"},
        [MIG_STRATEGY_SINGLE] =
            {PROBLEM_WARNING, "belongs to migStrategy 'mixed', but migStrategy is 'single', which "
                              "calls MIG devices " NAME_GPU},
        [MIG_STRATEGY_MIXED] = {PROBLEM_NOTE, "has no MIG device on this node"},
    };
    enum mig_strategy strategy = c->policy->mig_strategy;

    problem_add(c->problems, by_strategy[strategy].severity, entry->at, entry->path,
                "the resource %s %s", entry->name, by_strategy[strategy].sentence);
}

static void say_absent(const struct assigner *c, const struct sharing_entry *entry)
{
    cleanup_text struct text bases = TEXT_INIT;

    if (c->n_gpus == 0)
        return; /* a node without GPUs is quiet: the file is the whole cluster's */
    if (name_is_mig(c->policy, entry->name)) {
        say_absent_mig(c, entry);
        return;
    }
    format_bases(c, &bases);
    problem_add(c->problems, is_elsewhere(c->policy, entry->name) ? PROBLEM_NOTE : PROBLEM_WARNING,
                entry->at, entry->path, "no GPU of this node is a %s; the node has %s", entry->name,
                text_string(&bases));
}

/* MPS cannot serve a GPU in MIG mode as a whole; only its MIG devices. */
static void refuse_mig(const struct assigner *c, const struct sharing_entry *entry)
{
    char list[128];
    size_t n = 0;

    for (size_t i = 0; i < c->n_gpus; i++) {
        c->lost[i] = c->reached[i] && entry->strategy == SHARING_MPS && c->gpus[i].gpu.mig_enabled;
        c->reached[i] = c->reached[i] && !c->lost[i];
        n += c->lost[i];
    }
    if (n == 0)
        return;
    select_format(c->gpus, c->lost, c->n_gpus, list, sizeof(list));
    problem_add(c->problems, PROBLEM_WARNING, entry->at, entry->path,
                "%s has MIG enabled and cannot be shared by MPS; turn MIG off or use timeSlicing",
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

/* Takes from `reached` what belongs to winner already; says which, unless config/ said so. */
static void yield_to(const struct assigner *c, const struct sharing_entry *loser,
                     const struct sharing_entry *winner)
{
    bool by_strategy = winner->strategy != loser->strategy;
    char list[128], first[112];
    size_t n = 0;

    for (size_t i = 0; i < c->n_gpus; i++) {
        c->lost[i] = c->reached[i] && c->assigned[i] == winner;
        c->reached[i] = c->reached[i] && !c->lost[i];
        n += c->lost[i];
    }
    if (n == 0 || select_surely_overlap(winner, loser))
        return;
    select_format(c->gpus, c->lost, c->n_gpus, list, sizeof(list));
    format_entry(winner, first, sizeof(first));
    problem_add(c->problems, PROBLEM_ERROR, loser->at, loser->path,
                "%s %s shared by %s already, and %s; name other GPUs in devices", list,
                n == 1 ? "is" : "are", first,
                by_strategy ? "MPS wins over time slicing" : "the first entry wins");
}

static void assign_entry(const struct assigner *c, const struct sharing_entry *entry)
{
    if (!is_on_node(c, entry->name)) {
        say_absent(c, entry);
        return;
    }
    select_gpus(entry, c->gpus, c->n_gpus, c->problems, c->reached);
    refuse_mig(c, entry);
    for (size_t i = 0; i < c->policy->n_sharing; i++)
        yield_to(c, entry, &c->policy->sharing[i]);
    for (size_t i = 0; i < c->n_gpus; i++)
        if (c->reached[i])
            c->assigned[i] = entry;
}

int assign_gpus(const struct policy *policy, const struct plan_gpu *gpus, size_t n_gpus,
               struct problems *problems, const struct sharing_entry **ret_assigned)
{
    static const enum sharing_strategy order[] = {SHARING_MPS, SHARING_TIME_SLICING};
    cleanup_free bool *reached = calloc(n_gpus + 1, sizeof(*reached));
    cleanup_free bool *lost = calloc(n_gpus + 1, sizeof(*lost));
    struct assigner c = {policy, gpus, n_gpus, problems, ret_assigned, reached, lost};

    if (!reached || !lost)
        return -ENOMEM;
    for (size_t i = 0; i < n_gpus; i++)
        ret_assigned[i] = NULL;
    for (size_t s = 0; s < sizeof(order) / sizeof(order[0]); s++)
        for (size_t i = 0; i < policy->n_sharing; i++)
            if (policy->sharing[i].strategy == order[s])
                assign_entry(&c, &policy->sharing[i]);
    return 0;
}
