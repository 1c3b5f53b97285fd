// SPDX-License-Identifier: Apache-2.0
#include "controller/nodefit.h"

#include <errno.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/text.h"
#include "kube/field.h"

#define UNSCHEDULABLE "node.kubernetes.io/unschedulable"

/* -- labels and fields ------------------------------------------------------------------------- */

static bool is_among(const json_t *values, const char *value)
{
    for (size_t i = 0; value && i < json_array_size(values); i++) {
        const char *one = json_string_value(json_array_get(values, i));

        if (one && str_equal(one, value))
            return true;
    }
    return false;
}

static bool read_number(const char *text, long long *ret_number)
{
    char *end;

    if (!text || !*text)
        return false;
    errno = 0;
    *ret_number = strtoll(text, &end, 10);
    return errno == 0 && !*end;
}

/* sign 1: value is greater than the limit; -1: less. Both are integers, else neither is true. */
static bool is_beyond(const char *value, const char *limit, int sign)
{
    long long a, b;

    return read_number(value, &a) && read_number(limit, &b) && (sign > 0 ? a > b : a < b);
}

/* An operator that is not known matches nothing. */
static bool matches(const json_t *requirement, const char *value)
{
    const char *operator_ = kube_text(requirement, "operator");
    const json_t *values = json_object_get(requirement, "values");
    const char *first = json_string_value(json_array_get(values, 0));

    if (str_equal(operator_, "In"))
        return is_among(values, value);
    if (str_equal(operator_, "NotIn"))
        return !is_among(values, value);
    if (str_equal(operator_, "Exists"))
        return value;
    if (str_equal(operator_, "DoesNotExist"))
        return !value;
    if (str_equal(operator_, "Gt"))
        return is_beyond(value, first, 1);
    return str_equal(operator_, "Lt") && is_beyond(value, first, -1);
}

static bool has_fields(const json_t *node, const json_t *fields)
{
    for (size_t i = 0; i < json_array_size(fields); i++) {
        const json_t *field = json_array_get(fields, i);
        const char *name = kube_name(node);

        if (!kube_says(field, "key", "metadata.name") || !matches(field, name))
            return false;
    }
    return true;
}

/* A term without a requirement matches no Node. */
static bool has_term(const json_t *node, const json_t *term)
{
    const json_t *labels = json_object_get(term, "matchExpressions");
    const json_t *fields = json_object_get(term, "matchFields");

    for (size_t i = 0; i < json_array_size(labels); i++) {
        const json_t *one = json_array_get(labels, i);

        if (!matches(one, kube_label(node, kube_text(one, "key"))))
            return false;
    }
    return json_array_size(labels) + json_array_size(fields) && has_fields(node, fields);
}

static bool has_affinity(const json_t *spec, const json_t *node)
{
    const json_t *affinity = json_object_get(json_object_get(spec, "affinity"), "nodeAffinity");
    const json_t *required =
        json_object_get(affinity, "requiredDuringSchedulingIgnoredDuringExecution");
    const json_t *terms = json_object_get(required, "nodeSelectorTerms");

    if (!json_is_object(required))
        return true;
    for (size_t i = 0; i < json_array_size(terms); i++)
        if (has_term(node, json_array_get(terms, i)))
            return true;
    return false;
}

static bool has_selector(const json_t *spec, const json_t *node)
{
    json_t *selector = json_object_get(spec, "nodeSelector"), *value;
    const char *key;

    json_object_foreach(selector, key, value)
    {
        const char *found = kube_label(node, key);
        const char *wanted = json_string_value(value);

        if (!found || !wanted || !str_equal(found, wanted))
            return false;
    }
    return true;
}

/* -- taints ------------------------------------------------------------------------------------ */

static bool tolerates(const json_t *toleration, const json_t *taint)
{
    const char *effect = kube_text(toleration, "effect"), *key = kube_text(toleration, "key");
    const char *operator_ = kube_text(toleration, "operator");
    const char *limit = kube_text(toleration, "value"), *value = kube_text(taint, "value");

    if (*effect && !str_equal(effect, kube_text(taint, "effect")))
        return false;
    if (*key ? !str_equal(key, kube_text(taint, "key")) : !str_equal(operator_, "Exists"))
        return false;
    if (str_equal(operator_, "Exists"))
        return true;
    if (str_equal(operator_, "Gt"))
        return is_beyond(value, limit, 1);
    if (str_equal(operator_, "Lt"))
        return is_beyond(value, limit, -1);
    return str_equal(limit, value);
}

static bool is_tolerated(const json_t *spec, const json_t *taint)
{
    const json_t *tolerations = json_object_get(spec, "tolerations");

    for (size_t i = 0; i < json_array_size(tolerations); i++)
        if (tolerates(json_array_get(tolerations, i), taint))
            return true;
    return false;
}

/* Taken off again by who set it: the node controller, a cloud's, an agent that starts. */
static bool is_passing(const json_t *taint)
{
    static const char *const prefixes[] = {"node.kubernetes.io/",
                                           "node.cloudprovider.kubernetes.io/", "karpenter.sh/",
                                           "gpuslice.dev/"};

    for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
        if (str_starts_with(kube_text(taint, "key"), prefixes[i]))
            return true;
    return false;
}

static bool keeps_out(const json_t *spec, const json_t *taint, enum nodefit_when when)
{
    if (kube_says(taint, "effect", "PreferNoSchedule") ||
        (when == NODEFIT_SOME_TIME && is_passing(taint)))
        return false;
    return !is_tolerated(spec, taint);
}

/* The cordon has a taint as well, which a controller adds a moment later. */
static bool is_cordoned(const json_t *spec, const json_t *node)
{
    json_t *taint = json_pack("{s:s,s:s}", "key", UNSCHEDULABLE, "effect", "NoSchedule");
    const bool is = json_is_true(json_object_get(json_object_get(node, "spec"), "unschedulable")) &&
                    !is_tolerated(spec, taint);

    json_decref(taint);
    return is;
}

bool nodefit_may_run(const json_t *pod, const json_t *node, enum nodefit_when when)
{
    const json_t *spec = json_object_get(pod, "spec");
    const json_t *taints = json_object_get(json_object_get(node, "spec"), "taints");

    for (size_t i = 0; i < json_array_size(taints); i++)
        if (keeps_out(spec, json_array_get(taints, i), when))
            return false;
    return (when == NODEFIT_SOME_TIME || !is_cordoned(spec, node)) && has_selector(spec, node) &&
           has_affinity(spec, node);
}
