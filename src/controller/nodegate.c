// SPDX-License-Identifier: Apache-2.0
#include "controller/nodegate.h"

#include <stdio.h>

#include "base/array.h"

const char *const nodegate_state_names[NODEGATE_STATES] = {
    [NODEGATE_WAITING] = "waiting", [NODEGATE_OPEN] = "open", [NODEGATE_SHORT] = "short"};

/* -- sentences --------------------------------------------------------------------------------- */

static const char *text_of(const struct nodegate_facts *facts, enum nodeview_text text)
{
    return facts->node->texts[text];
}

static void add_numbers(const struct nodegate_facts *facts, const struct amount *promised,
                        struct text *out)
{
    const struct nodeview *node = facts->node;

    text_addf(out, "; %s: %lld promised", promised->name, (long long)promised->count);
    if (facts->kind->is_believed)
        text_addf(out, ", Karpenter believes %lld",
                  (long long)amounts_get(&facts->kind->believed, promised->name));
    if (node->is_configured_known)
        text_addf(out, ", %lld configured",
                  (long long)amounts_get(&node->configured, promised->name));
    text_addf(out, ", %lld advertised", (long long)amounts_get(&node->allocatable, promised->name));
}

static bool differs(const struct nodegate_facts *facts, const struct amount *promised)
{
    const struct nodeview *node = facts->node;

    return amounts_get(&node->allocatable, promised->name) != promised->count ||
           (node->is_configured_known &&
            amounts_get(&node->configured, promised->name) != promised->count) ||
           (facts->kind->is_believed &&
            amounts_get(&facts->kind->believed, promised->name) != promised->count);
}

/* Every number of each resource whose numbers are not one. */
static void add_differences(const struct nodegate_facts *facts, struct text *out)
{
    const struct amounts *promised = &facts->kind->promised;

    for (size_t i = 0; i < promised->n_items; i++)
        if (differs(facts, &promised->items[i]))
            add_numbers(facts, &promised->items[i], out);
}

static void tell(struct nodegate *gate, const struct nodegate_facts *facts, const char *reason,
                 int64_t after_s, const struct text *sentence)
{
    cleanup_text struct text message = TEXT_INIT;

    text_add(&message, text_string(sentence));
    if (facts->kind->is_promised)
        add_differences(facts, &message);
    gate->reason = reason;
    gate->tell_after_s = after_s;
    if (snprintf(gate->message, sizeof(gate->message), "%s", text_string(&message)) >=
        (int)sizeof(gate->message))
        str_mark_cut(gate->message, sizeof(gate->message));
    str_make_line(gate->message);
}

/* -- reasons why it is short: the first that holds --------------------------------------------- */

/* It had its time: since it was made, or, if it was open, since it fell short. */
static bool is_late(const struct nodegate_facts *facts)
{
    return facts->age_s >= facts->limit_s &&
           (facts->node->is_closed || facts->short_s >= facts->limit_s);
}

/* Every node begins so. */
static int64_t in_time(const struct nodegate_facts *facts)
{
    return is_late(facts) ? 0 : INT64_MAX;
}

static bool is_not_promised(const struct nodegate_facts *facts, struct nodegate *gate)
{
    cleanup_text struct text why = TEXT_INIT;

    if (facts->kind->is_promised)
        return false;
    text_addf(&why,
              "what this node was promised to have is not known: SliceProfile %s, state %s, "
              "instance type %s: %s",
              text_of(facts, NODEVIEW_PROFILE), text_of(facts, NODEVIEW_HASH),
              text_of(facts, NODEVIEW_TYPE), facts->kind->unknown);
    tell(gate, facts, "PromiseUnknown", NODEGATE_HOLD_S, &why);
    return true;
}

static bool is_kubelet_away(const struct nodegate_facts *facts, struct nodegate *gate)
{
    cleanup_text struct text why = TEXT_INIT;

    if (facts->node->is_ready)
        return false;
    text_add(&why, "the node is not Ready");
    tell(gate, facts, "NodeNotReady", in_time(facts), &why);
    return true;
}

static bool has_nothing(const struct nodeview *node)
{
    for (size_t i = 0; i < node->allocatable.n_items; i++)
        if (node->allocatable.items[i].count)
            return false;
    return true;
}

static bool is_served_by_another(const struct nodegate_facts *facts, struct nodegate *gate)
{
    cleanup_text struct text why = TEXT_INIT;

    if (facts->node->agent != NODEVIEW_SILENT || has_nothing(facts->node))
        return false;
    text_add(&why, "no agent of gpuslice reports from this node, and the kubelet advertises ");
    amounts_add_text(&facts->node->allocatable, &why);
    text_add(&why, ": another device plugin serves its GPUs");
    tell(gate, facts, "AnotherPlugin", NODEGATE_HOLD_S, &why);
    return true;
}

static bool is_agent_away(const struct nodegate_facts *facts, struct nodegate *gate)
{
    cleanup_text struct text why = TEXT_INIT;

    if (facts->node->agent != NODEVIEW_SILENT)
        return false;
    text_add(&why, "no agent of gpuslice reports from this node: it does not run there, or the "
                   "node has no GPU");
    tell(gate, facts, "AgentNotRunning", in_time(facts), &why);
    return true;
}

/* The agent's own reasons (verdict.h of the agent). Whatever else it says when it is not ready is
 * told as it is. */
static const struct {
    const char *agent, *reason;
    bool begins_so;
} known[] = {
    {"DriverNotAvailable", "DriverMissing", false},
    {"ForeignDevicePlugin", "AnotherPlugin", false},
    {"NoGPUsToServe", "NoGPUsToServe", false},
    {"MIGLayoutFailed", "GeometryFailed", false},
    {"MIGLayoutPending", "GeometryPending", true},
    {"OfferIncomplete", "OfferIncomplete", false},
    {"ResourcesNotRegistered", "NotRegistered", true},
    {"Starting", "AgentStarting", true},
};

static bool has_agent_a_reason(const struct nodegate_facts *facts, struct nodegate *gate)
{
    const char *reason = text_of(facts, NODEVIEW_REASON), *ours = NULL;
    cleanup_text struct text why = TEXT_INIT;
    bool begins_so = false;

    for (size_t i = 0; i < ARRAY_SIZE(known) && !ours; i++)
        if (str_equal(known[i].agent, reason)) {
            ours = known[i].reason;
            begins_so = known[i].begins_so;
        }
    if (!ours && facts->node->agent == NODEVIEW_READY)
        return false;
    text_addf(&why, "its agent says %s: %s", reason, text_of(facts, NODEVIEW_MESSAGE));
    tell(gate, facts, ours ? ours : "AgentNotReady", begins_so ? in_time(facts) : NODEGATE_HOLD_S,
         &why);
    return true;
}

static bool is_configured_otherwise(const struct nodegate_facts *facts, struct nodegate *gate)
{
    cleanup_text struct text why = TEXT_INIT;

    if (!facts->node->is_configured_known ||
        amounts_meet(&facts->node->configured, &facts->kind->promised))
        return false;
    text_addf(&why, "its agent is configured otherwise than SliceProfile %s promises: it offers ",
              text_of(facts, NODEVIEW_PROFILE));
    amounts_add_text(&facts->node->configured, &why);
    text_add(&why, " (a label or a file may outrank the profile there)");
    tell(gate, facts, "ConfiguredOtherwise", NODEGATE_HOLD_S, &why);
    return true;
}

/* Devices that the agent offers and that are Unhealthy, or a kubelet that has not said it yet. */
static bool is_not_advertised(const struct nodegate_facts *facts, struct nodegate *gate)
{
    const bool begins_so = facts->node->is_closed && has_nothing(facts->node);
    cleanup_text struct text why = TEXT_INIT;

    if (!facts->node->is_configured_known)
        return false;
    text_addf(&why, "the kubelet does not advertise what the agent offers; the agent says: %s",
              text_of(facts, NODEVIEW_MESSAGE));
    tell(gate, facts, "NotAdvertised", begins_so ? NODEGATE_LAG_S : NODEGATE_HOLD_S, &why);
    return true;
}

static bool is_unknown(const struct nodegate_facts *facts, struct nodegate *gate)
{
    const bool begins_so = facts->node->is_closed && has_nothing(facts->node);
    cleanup_text struct text why = TEXT_INIT;

    text_addf(&why, "the numbers differ for a reason that nothing here tells; the agent says: %s",
              text_of(facts, NODEVIEW_MESSAGE));
    tell(gate, facts, "Unknown", begins_so ? NODEGATE_LAG_S : NODEGATE_HOLD_S, &why);
    return true;
}

static bool (*const short_reasons[])(const struct nodegate_facts *, struct nodegate *) = {
    is_not_promised,    is_kubelet_away,         is_served_by_another, is_agent_away,
    has_agent_a_reason, is_configured_otherwise, is_not_advertised,    is_unknown,
};

/* -- reasons of a node that has what was promised ---------------------------------------------- */

static void judge_met(const struct nodegate_facts *facts, struct nodegate *gate)
{
    const struct nodekind *kind = facts->kind;
    cleanup_text struct text why = TEXT_INIT;

    if (!kind->is_believed || amounts_meet(&kind->believed, &kind->promised))
        return;
    if (!*kind->owner && !kind->has_profile) /* the overlays went with the profile */
        return;
    if (*kind->owner)
        text_addf(&why, "Karpenter believes otherwise of such nodes, by the NodeOverlay %s",
                  kind->owner);
    else
        text_add(&why, "Karpenter believes otherwise of such nodes: no NodeOverlay that it heeds "
                       "tells it");
    tell(gate, facts, "BelievedOtherwise", NODEGATE_HOLD_S, &why);
}

/* Whatever else there is: pods of both would get one GPU. */
static bool is_managed_twice(const struct nodegate_facts *facts, struct nodegate *gate)
{
    cleanup_text struct text why = TEXT_INIT;

    if (!facts->has_dra || has_nothing(facts->node))
        return false;
    text_add(&why, "a DRA driver (gpu.nvidia.com) offers GPUs of this node, and a device plugin "
                   "advertises ");
    amounts_add_text(&facts->node->allocatable, &why);
    text_add(&why, ": one GPU is given away twice; let one of them serve the node");
    tell(gate, facts, "DoubleManagement", NODEGATE_HOLD_S, &why);
    return true;
}

/* -- all --------------------------------------------------------------------------------------- */

void nodegate_judge(const struct nodegate_facts *facts, struct nodegate *ret_gate)
{
    struct nodegate gate = {.tell_after_s = INT64_MAX};

    gate.is_met =
        facts->kind->is_promised && amounts_meet(&facts->node->allocatable, &facts->kind->promised);
    if (!facts->node->is_going && !is_managed_twice(facts, &gate)) {
        if (gate.is_met)
            judge_met(facts, &gate);
        else
            for (size_t i = 0; i < ARRAY_SIZE(short_reasons); i++)
                if (short_reasons[i](facts, &gate))
                    break;
    }
    gate.is_overdue =
        !gate.is_met && !facts->node->is_going && facts->node->is_closed && is_late(facts);
    *ret_gate = gate;
}

enum nodegate_state nodegate_state(const struct nodegate_facts *facts, const struct nodegate *gate,
                                   bool is_told)
{
    if (gate->is_met)
        return facts->node->is_closed ? NODEGATE_WAITING : NODEGATE_OPEN;
    if (is_told)
        return NODEGATE_SHORT;
    return facts->node->is_closed || facts->age_s < facts->limit_s ? NODEGATE_WAITING
                                                                   : NODEGATE_SHORT;
}
