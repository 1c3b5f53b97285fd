// SPDX-License-Identifier: Apache-2.0
#include "controller/drainplan.h"

#include "base/array.h"
#include "base/text.h"
#include "kube/field.h"

const char *const drain_consent_names[DRAIN_CONSENTS] = {
    [DRAIN_DENIED] = "denied",
    [DRAIN_ALLOWED] = "allowed",
    [DRAIN_FORCED] = "forced",
};

bool drain_consent_parse(const char *word, enum drain_consent *ret_consent)
{
    for (unsigned i = 0; i < DRAIN_CONSENTS; i++)
        if (str_equal(word, drain_consent_names[i])) {
            *ret_consent = (enum drain_consent)i;
            return true;
        }
    return false;
}

static const json_t *controller_of(const json_t *pod)
{
    const json_t *owner;
    size_t i;

    json_array_foreach(json_object_get(kube_metadata(pod), "ownerReferences"), i,
                       owner) if (json_is_true(json_object_get(owner, "controller"))) return owner;
    return NULL;
}

/* The API server has only a copy of it, with a uid of its own. */
static bool is_static(const json_t *pod)
{
    return kube_annotation(pod, "kubernetes.io/config.mirror") != NULL;
}

struct mark {
    const char *key, *value, *why;
    bool is_other; /* any value but this one */
};

static bool has_mark(const json_t *pod, const struct mark *mark)
{
    const char *found = kube_annotation(pod, mark->key);

    return found && str_equal(found, mark->value) != mark->is_other;
}

/* Why it must not be evicted; NULL = it may. */
static const char *protection(const json_t *pod, enum drain_consent consent)
{
    static const struct mark marks[] = {
        /* "true", or for how long */
        {"karpenter.sh/do-not-disrupt", "false",
         "has the annotation karpenter.sh/do-not-disrupt: delete it yourself", .is_other = true},
        {"cluster-autoscaler.kubernetes.io/safe-to-evict", "false",
         "has the annotation cluster-autoscaler.kubernetes.io/safe-to-evict: delete it yourself"},
    };
    const json_t *controller = controller_of(pod);

    for (size_t i = 0; i < ARRAY_SIZE(marks); i++)
        if (has_mark(pod, &marks[i]))
            return marks[i].why;
    if (kube_says(controller, "kind", "DaemonSet"))
        return "is a DaemonSet's, and would come back to this node";
    if (!controller && consent != DRAIN_FORCED)
        return "has no controller that would create it again: delete it yourself, or annotate the "
               "Node with " DRAINPLAN_ANNOTATION "=forced";
    return NULL;
}

enum drain_step drainplan_pod(const json_t *pod, const struct migwaits_pod *wanted,
                              const char *node, enum drain_consent consent, const char **ret_why)
{
    const char *phase = kube_text(json_object_get(pod, "status"), "phase");

    if (!pod || !kube_says(json_object_get(pod, "spec"), "nodeName", node) ||
        str_equal(phase, "Succeeded") || str_equal(phase, "Failed"))
        return DRAIN_GONE;
    if (is_static(pod)) {
        *ret_why = "is a static pod of the node";
        return DRAIN_LEFT;
    }
    if (!*wanted->uid)
        return DRAIN_UNKNOWN;
    if (!str_equal(kube_uid(pod), wanted->uid))
        return DRAIN_GONE;
    if (*kube_text(kube_metadata(pod), "deletionTimestamp"))
        return DRAIN_GOING;
    *ret_why =
        consent == DRAIN_DENIED ? "is on a node that may not be drained" : protection(pod, consent);
    return *ret_why ? DRAIN_LEFT : DRAIN_EVICT;
}
