// SPDX-License-Identifier: Apache-2.0
#include "cli/clusterjudge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"
#include "karpenter/nodeclass.h"
#include "kube/field.h"

/* The first release of Karpenter in which the heavier of two NodeOverlays wins. */
enum { KARPENTER_MAJOR = 1, KARPENTER_MINOR = 9 };

static const struct position nowhere = {0, 0};

static json_int_t number_of(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

/* On how many nodes of a group a fact has this value. */
static json_int_t count_of(const json_t *group, const char *fact, const char *value)
{
    return number_of(json_object_get(group, fact), value);
}

static bool is_hidden(const json_t *facts, const char *key)
{
    return json_is_null(json_object_get(facts, key));
}

/* ---- what it follows from ---- */

/* What is known of the whole cluster and decides about each group. */
struct cluster {
    const json_t *facts, *agent, *karpenter, *pools;
    bool is_old; /* Karpenter, for NodeOverlays */
    const char *gate;
};

static bool is_old(const char *version)
{
    char *end;
    const char *at = *version == 'v' ? version + 1 : version;
    long major = strtol(at, &end, 10), minor;

    if (end == at || *end != '.')
        return false;
    at = end + 1;
    minor = strtol(at, &end, 10);
    return end != at &&
           (major < KARPENTER_MAJOR || (major == KARPENTER_MAJOR && minor < KARPENTER_MINOR));
}

/* A gate that is not set where we see it is judged by its work: Karpenter gives every overlay
 * conditions. */
static const char *settle_gate(const json_t *facts)
{
    const json_t *overlays = json_object_get(facts, "overlays");
    const char *told = kube_text(json_object_get(facts, "karpenter"), "gate");
    bool is_any_judged = false;

    for (size_t i = 0; i < json_array_size(overlays); i++)
        is_any_judged |= *kube_text(json_array_get(overlays, i), "ready") != '\0';
    if (*told)
        return told;
    if (is_any_judged)
        return "on";
    return json_array_size(overlays) ? "off" : "";
}

static struct cluster look_at(json_t *facts)
{
    struct cluster c = {.facts = facts,
                        .agent = json_object_get(facts, "agent"),
                        .karpenter = json_object_get(facts, "karpenter"),
                        .pools = json_object_get(facts, "pools"),
                        .gate = settle_gate(facts)};

    c.is_old = is_old(kube_text(c.karpenter, "version"));
    if (json_is_object(c.karpenter) && !*kube_text(c.karpenter, "gate"))
        json_object_set_new((json_t *)c.karpenter, "gate", json_string(c.gate));
    return c;
}

static bool is_auto(const json_t *group)
{
    return number_of(group, "autoMode") > 0;
}

/* The NodePool of a group; NULL: it is none, or is not known. */
static const json_t *pool_of(const struct cluster *c, const json_t *group)
{
    return kube_says(group, "kind", "NodePool")
               ? json_object_get(c->pools, kube_text(group, "name"))
               : NULL;
}

/* ---- guarantees ---- */

struct answer {
    const char *word; /* "yes", "no", "unknown" */
    char why[320];
};

static struct answer answer(const char *word, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static struct answer answer(const char *word, const char *format, ...)
{
    struct answer a = {.word = word};
    va_list args;

    va_start(args, format);
    vsnprintf(a.why, sizeof(a.why), format, args);
    va_end(args);
    return a;
}

/* advice: what is advisory; what: what a process would take of its neighbours. */
static struct answer judge_sharing(const json_t *group, const char *advice, const char *what)
{
    json_int_t n = number_of(group, "nodes"), parts = count_of(group, "sharing", "mig"),
               shared = count_of(group, "sharing", "shared"), none = count_of(group, "sharing", "");

    if (shared)
        return answer("no", "%s, and on %lld of %lld nodes several slices lie on one device: %s",
                      advice, (long long)shared, (long long)n, what);
    if (none == n)
        return answer("unknown", "these nodes advertise nothing of nvidia.com");
    if (parts)
        return answer("yes",
                      "MIG devices and whole GPUs alone, each with one container: the hardware "
                      "keeps them apart");
    return answer("yes", "whole GPUs alone, each with one container");
}

static struct answer judge_memory(const struct cluster *c, const json_t *group)
{
    return judge_sharing(group,
                         "memory limits are advisory where the nodes' condition GPUSlicesReady "
                         "does not say \"enforced\"",
                         "a process may allocate all of its memory");
}

static struct answer judge_compute(const struct cluster *c, const json_t *group)
{
    return judge_sharing(
        group,
        "shares of compute are advisory where the nodes' condition GPUSlicesReady does not say "
        "\"GPUs are shared in turns\" (gpuslice.compute), which is experimental",
        "without turns its processes get the same time, whatever their shares");
}

/* The reasons why nodes are not ready, "DriverNotAvailable (2)". */
static void add_reasons(const json_t *group, struct text *text)
{
    const char *reason;
    json_t *n;

    json_object_foreach(json_object_get(group, "agent"), reason, n)
    {
        if (*reason && !str_equal(reason, "ready"))
            text_addf(text, "%s%s (%lld)", text->length ? ", " : "", reason,
                      (long long)json_integer_value(n));
    }
}

static struct answer judge_scheduling(const struct cluster *c, const json_t *group)
{
    json_int_t n = number_of(group, "nodes"), ready = count_of(group, "agent", "ready"),
               absent = count_of(group, "agent", "");
    cleanup_text struct text reasons = TEXT_INIT;

    if (is_auto(group))
        return answer("no", "the device plugin of EKS Auto Mode is a part of its nodes and cannot "
                            "be configured: they have whole GPUs alone");
    if (number_of(group, "doublyServed"))
        return answer("no", "a device plugin and a DRA driver give out the same GPUs, each without "
                            "knowing of the other");
    if (absent == n)
        return answer("no", "gpuslice is on none of these nodes");
    if (ready == n)
        return answer("yes", "gpuslice is ready on every node: a slice is given to one container "
                             "at a time");
    add_reasons(group, &reasons);
    return answer("no", "gpuslice is ready on %lld of %lld nodes%s%s", (long long)ready,
                  (long long)n, reasons.length ? ": " : "", text_string(&reasons));
}

static struct answer judge_pool(const struct cluster *c, const json_t *pool)
{
    const json_t *overlays = json_object_get(c->facts, "overlays");
    const char *profile = kube_text(pool, "profile");
    size_t n = 0, n_ready = 0;

    if (!*profile)
        return answer("no", "its NodePool has no profile (template label gpuslice.dev/profile): "
                            "Karpenter counts whole GPUs; see gpuslice render karpenter");
    if (c->is_old)
        return answer("no", "Karpenter %s is too old for NodeOverlays; %d.%d is the first",
                      kube_text(c->karpenter, "version"), KARPENTER_MAJOR, KARPENTER_MINOR);
    if (str_equal(c->gate, "off"))
        return answer("no", "Karpenter's feature gate NodeOverlay is off");
    for (size_t i = 0; i < json_array_size(overlays); i++) {
        const json_t *overlay = json_array_get(overlays, i);

        if (!kube_says(overlay, "profile", profile))
            continue;
        n++;
        n_ready += kube_says(overlay, "ready", "True");
    }
    if (!n)
        return answer("no", "the profile %s has no NodeOverlay", profile);
    if (n_ready < n)
        return answer("no", "%zu of %zu NodeOverlays of the profile %s are not Ready", n - n_ready,
                      n, profile);
    return answer("yes", "%zu NodeOverlay%s of the profile %s %s Ready", n, n == 1 ? "" : "s",
                  profile, n == 1 ? "is" : "are");
}

static struct answer judge_scaling(const struct cluster *c, const json_t *group)
{
    const json_t *pool = pool_of(c, group);

    if (is_auto(group) || (pool && json_is_true(json_object_get(pool, "auto"))))
        return answer("no", "EKS Auto Mode has no NodeOverlays, and its nodes no slices: pods that "
                            "ask for slices start none of them");
    if (!kube_says(group, "kind", "NodePool"))
        return answer("unknown", "the tags of its Auto Scaling group are not in the cluster; see "
                                 "gpuslice render cluster-autoscaler");
    if (!pool)
        return answer("unknown", "its NodePool could not be read");
    return judge_pool(c, pool);
}

static struct answer judge_mig(const struct cluster *c, const json_t *group)
{
    json_int_t n = number_of(group, "nodes"), capable = count_of(group, "mig", "capable"),
               not_known = count_of(group, "mig", "");

    if (not_known)
        return answer("unknown",
                      "of %lld of %lld nodes neither the instance type nor the label "
                      "nvidia.com/mig.capable tells it",
                      (long long)not_known, (long long)n);
    if (capable < n)
        return answer("no", "MIG cannot partition the GPUs of %lld of %lld nodes",
                      (long long)(n - capable), (long long)n);
    if (is_auto(group))
        return answer("no", "EKS Auto Mode does not let anybody change the GPUs of its nodes");
    if (!json_is_object(c->agent))
        return answer("no", "the GPUs could be partitioned, but gpuslice is not installed");
    if (!json_is_true(json_object_get(c->agent, "partitions")))
        return answer("no", "the GPUs could be partitioned, but gpuslice may not: mig.partition is "
                            "off in its chart");
    return answer("yes", "gpuslice partitions them as nvidia.com/mig.config or its configuration "
                         "asks");
}

static void judge_group(const struct cluster *c, json_t *group)
{
    static const struct {
        const char *name;
        struct answer (*judge)(const struct cluster *c, const json_t *group);
    } guarantees[] = {{"memory", judge_memory},
                      {"compute", judge_compute},
                      {"scheduling", judge_scheduling},
                      {"scaling", judge_scaling},
                      {"mig", judge_mig}};
    json_t *all = json_object();

    for (size_t i = 0; i < ARRAY_SIZE(guarantees); i++) {
        const struct answer a = guarantees[i].judge(c, group);

        json_object_set_new(all, guarantees[i].name,
                            json_pack("{s:s, s:s}", "answer", a.word, "why", a.why));
    }
    json_object_set_new(group, "guarantees", all);
}

/* ---- problems ---- */

static void name_group(const json_t *group, struct text *name)
{
    text_addf(name, "%s %s", kube_text(group, "kind"), kube_text(group, "name"));
}

static void check_agent_on(const struct cluster *c, const json_t *group, const char *path,
                           struct problems *problems)
{
    json_int_t n = number_of(group, "nodes"), ready = count_of(group, "agent", "ready"),
               absent = count_of(group, "agent", "");
    cleanup_text struct text reasons = TEXT_INIT;

    add_reasons(group, &reasons);
    if (ready + absent < n)
        problem_add(problems, PROBLEM_WARNING, nowhere, path,
                    "gpuslice is not ready on %lld of %lld nodes: %s; the condition GPUSlicesReady "
                    "of each Node says more",
                    (long long)(n - ready - absent), (long long)n, text_string(&reasons));
    if (absent && json_is_object(c->agent) && !is_auto(group))
        problem_add(problems, PROBLEM_NOTE, nowhere, path,
                    "gpuslice has not reported from %lld of %lld nodes with GPUs (no condition "
                    "GPUSlicesReady); its DaemonSet's nodeSelector, affinity and tolerations "
                    "decide where it runs",
                    (long long)absent, (long long)n);
}

/* Another program for the same GPUs, where ours runs. */
static void check_rivals_on(const struct cluster *c, const json_t *group, const char *path,
                            struct problems *problems)
{
    static const struct {
        const char *fact, *sentence;
    } kinds[] = {
        {"plugins", "gpuslice stands by while it does"},
        {"migManagers", "gpuslice changes no MIG layout beside it"},
    };

    if (!json_is_object(c->agent) || count_of(group, "agent", "") == number_of(group, "nodes"))
        return;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        const char *what;
        json_t *n;

        json_object_foreach(json_object_get(group, kinds[i].fact), what, n)
        {
            problem_add(problems, PROBLEM_WARNING, nowhere, path,
                        "%s is to run on %lld of these nodes, too, and %s; uninstall it, or keep "
                        "one of the two off these nodes by its nodeSelector",
                        what, (long long)json_integer_value(n), kinds[i].sentence);
        }
    }
}

static void check_group(const struct cluster *c, const json_t *group, struct problems *problems)
{
    cleanup_text struct text name = TEXT_INIT;
    json_int_t n = number_of(group, "nodes"), twice = number_of(group, "doublyServed"),
               hidden = number_of(group, "hidden");
    const char *path;

    name_group(group, &name);
    path = text_string(&name);
    if (twice)
        problem_add(problems, PROBLEM_ERROR, nowhere, path,
                    "the GPUs of %lld of %lld nodes are given out twice, by a device plugin "
                    "(nvidia.com/...) and by a DRA driver (ResourceSlices), and nothing in "
                    "Kubernetes notices; keep one of the two off these nodes",
                    (long long)twice, (long long)n);
    if (hidden)
        problem_add(
            problems, PROBLEM_WARNING, nowhere, path,
            "%lld nodes have the label k8s.amazonaws.com/accelerator and no nvidia.com/gpu: "
            "cluster-autoscaler takes them for broken, and stops with too many of them; "
            "take the label off",
            (long long)hidden);
    if (count_of(group, "cgroup", "v1"))
        problem_add(
            problems, PROBLEM_NOTE, nowhere, path,
            "the image of %lld nodes has cgroup v1, which Kubernetes 1.35 and later refuse; "
            "take a newer image",
            (long long)count_of(group, "cgroup", "v1"));
    if (is_auto(group))
        problem_add(
            problems, PROBLEM_NOTE, nowhere, path,
            "nodes of EKS Auto Mode have a device plugin of their own and no NodeOverlays: "
            "whole GPUs work there, slices do not; use a node group or a NodePool with your "
            "own EC2NodeClass for them");
    check_agent_on(c, group, path, problems);
    check_rivals_on(c, group, path, problems);
}

static void check_agent(const struct cluster *c, struct problems *problems)
{
    const char *level = kube_text(c->agent, "podSecurity");
    cleanup_text struct text name = TEXT_INIT;

    if (!json_is_object(c->agent)) {
        problem_add(problems, PROBLEM_NOTE, nowhere, "",
                    "gpuslice is not installed: no DaemonSet of it was found");
        return;
    }
    text_addf(&name, "Namespace %s", kube_text(c->agent, "namespace"));
    if (*level && !str_equal(level, "privileged"))
        problem_add(problems, PROBLEM_ERROR, nowhere, text_string(&name),
                    "Pod Security enforces '%s' there, which refuses pods that mount the host's "
                    "folders, as the agent's do; label the namespace "
                    "pod-security.kubernetes.io/enforce=privileged",
                    level);
}

/* Of one profile: are there pools of it at all? Overlays of others are their own matter. */
static bool has_sliced_pool(const struct cluster *c)
{
    const char *name;
    json_t *pool;

    json_object_foreach((json_t *)c->pools, name, pool)
    {
        if (*kube_text(pool, "profile"))
            return true;
    }
    return false;
}

static void check_karpenter(const struct cluster *c, struct problems *problems)
{
    const json_t *overlays = json_object_get(c->facts, "overlays");
    const char *version = kube_text(c->karpenter, "version");
    bool is_needed = json_array_size(overlays) || has_sliced_pool(c);

    for (size_t i = 0; i < json_array_size(overlays); i++) {
        const json_t *overlay = json_array_get(overlays, i);
        cleanup_text struct text name = TEXT_INIT;

        text_addf(&name, "NodeOverlay %s", kube_text(overlay, "name"));
        if (kube_says(overlay, "ready", "False"))
            problem_add(problems, PROBLEM_ERROR, nowhere, text_string(&name),
                        "Karpenter does not apply it: %s", kube_text(overlay, "message"));
    }
    if (is_needed && c->is_old)
        problem_add(problems, PROBLEM_ERROR, nowhere, "Karpenter",
                    "%s is too old: before %d.%d the lighter of two NodeOverlays wins, and before "
                    "1.7 there are none; upgrade it, or use gpuslice render placeholders",
                    version, KARPENTER_MAJOR, KARPENTER_MINOR);
    else if (is_needed && str_equal(c->gate, "off"))
        problem_add(problems, PROBLEM_ERROR, nowhere, "Karpenter",
                    "its feature gate NodeOverlay is off, so that it counts whole GPUs; set "
                    "settings.featureGates.nodeOverlay=true in its chart");
    else if (has_sliced_pool(c) && json_is_false(json_object_get(c->facts, "overlaysServed")))
        problem_add(
            problems, PROBLEM_ERROR, nowhere, "Karpenter",
            "the API server does not know NodeOverlays; install the CRDs of Karpenter %d.%d "
            "or later",
            KARPENTER_MAJOR, KARPENTER_MINOR);
}

/* By NodeOverlays for the device plugin, and by what the provider says for a DRA driver. */
static void check_classes(const struct cluster *c, struct problems *problems)
{
    const json_t *shared = json_object_get(c->facts, "sharedClasses");
    const char *name;
    json_t *pool;

    json_object_foreach((json_t *)c->pools, name, pool)
    {
        const char *class = kube_text(pool, "class"), *how = kube_text(shared, class);
        const char *profile = kube_text(pool, "profile");

        if (*profile && *how)
            nodeclass_add_problem(class, how, name, profile, problems);
    }
}

static void check_unknown(const struct cluster *c, struct problems *problems)
{
    const json_t *unknown = json_object_get(c->facts, "unknown");

    for (size_t i = 0; i < json_array_size(unknown); i++) {
        const json_t *item = json_array_get(unknown, i);

        problem_add(problems, PROBLEM_WARNING, nowhere, "", "not known: %s (%s)",
                    kube_text(item, "what"), kube_text(item, "why"));
    }
    if (!is_hidden(c->facts, "nodesWithoutGPU") &&
        !json_array_size(json_object_get(c->facts, "groups")))
        problem_add(problems, PROBLEM_NOTE, nowhere, "", "no node has a GPU");
}

void clusterjudge(json_t *facts, struct problems *problems)
{
    const struct cluster c = look_at(facts);
    json_t *groups = json_object_get(facts, "groups");

    for (size_t i = 0; i < json_array_size(groups); i++) {
        judge_group(&c, json_array_get(groups, i));
        check_group(&c, json_array_get(groups, i), problems);
    }
    check_agent(&c, problems);
    check_karpenter(&c, problems);
    check_classes(&c, problems);
    check_unknown(&c, problems);
}
