// SPDX-License-Identifier: Apache-2.0
#include "karpenter/poolcheck.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "karpenter/nodepool.h"
#include "slice/name.h"

struct checker {
    const struct sliceprofile *profile;
    const struct promises *promises;
    const struct catalog *catalog;
    struct problems *problems;
    const json_t *spec, *template; /* of the pool, and `spec.template.spec` */
};

#define report(c, severity, ...)                                                           \
    problem_add((c)->problems, severity, (struct position){0, 0}, (c)->profile->node_pool, \
                __VA_ARGS__)

static const json_t *find_pool(const json_t *pools, const char *name)
{
    for (size_t i = 0; i < json_array_size(pools); i++) {
        const json_t *pool = json_array_get(pools, i);
        const char *has =
            json_string_value(json_object_get(json_object_get(pool, "metadata"), "name"));

        if (has && str_equal(has, name))
            return pool;
    }
    return NULL;
}

static void check_label(const struct checker *c, const json_t *labels, const char *key,
                        const char *value)
{
    const char *has = json_string_value(json_object_get(labels, key));

    if (!has)
        report(
            c, PROBLEM_ERROR,
            "the NodePool's template lacks the label %s: %s, so that no NodeOverlay applies; add "
            "it, which replaces the pool's nodes",
            key, value);
    else if (!str_equal(has, value))
        report(
            c, PROBLEM_ERROR,
            "the NodePool's template has the label %s: %s, and the profile's value is %s, so that "
            "no NodeOverlay applies; change it, which replaces the pool's nodes",
            key, has, value);
}

static void check_labels(const struct checker *c)
{
    const json_t *metadata = json_object_get(json_object_get(c->spec, "template"), "metadata");
    const json_t *labels = json_object_get(metadata, "labels");
    char hash[SLICEPROFILE_HASH];

    sliceprofile_hash(c->profile, hash);
    check_label(c, labels, SLICEPROFILE_LABEL, c->profile->name);
    check_label(c, labels, SLICEPROFILE_HASH_LABEL, hash);
}

/* As it is written in YAML, on one line. */
static void check_annotation(const struct checker *c, const json_t *annotations, const char *key,
                             const json_t *value, const char *so)
{
    const json_t *has = json_object_get(annotations, key);
    cleanup_free char *shown = json_dumps(value, JSON_ENCODE_ANY);

    if (shown && (!has || !json_equal(has, value)))
        report(c, PROBLEM_WARNING,
               "the annotation %s of the NodePool's template is %s, so that %s; make it %s, which "
               "replaces the pool's nodes",
               key, json_is_string(has) ? "another" : "missing", so, shown);
}

static void check_annotations(const struct checker *c)
{
    const json_t *metadata = json_object_get(json_object_get(c->spec, "template"), "metadata");
    const json_t *annotations = json_object_get(metadata, "annotations");
    json_t *wanted = nodepool_annotations(c->profile, c->promises);

    check_annotation(c, annotations, SLICEPROFILE_CONFIG,
                     json_object_get(wanted, SLICEPROFILE_CONFIG),
                     "the agents do not slice its nodes as the profile says");
    check_annotation(c, annotations, SLICEPROFILE_PROMISE,
                     json_object_get(wanted, SLICEPROFILE_PROMISE),
                     "no agent opens its own node while there is no controller");
    json_decref(wanted);
}

static bool has_promise(const struct checker *c, const char *type)
{
    for (size_t i = 0; i < c->promises->n_items; i++)
        if (str_equal(c->promises->items[i].type->name, type))
            return true;
    return false;
}

/*
 * Karpenter's provider for EC2 launches types with GPUs only where none without fits, and goes by
 * what is left of them: a type whose GPUs are masked is one without.
 */
static void check_type(const struct checker *c, const char *name)
{
    const bool is_masked = c->promises->items[0].is_masked;

    if (has_promise(c, name))
        return;
    if (!catalog_find_type(c->catalog, name)) {
        if (is_masked)
            report(c, PROBLEM_WARNING,
                   "the NodePool may start %s, which no catalog of GPU instances has: Karpenter's "
                   "provider for EC2 takes types whose GPUs are masked for types without GPUs, and "
                   "may start one for a pod that needs none; move %s to another NodePool",
                   name, name);
    } else if (is_masked) {
        report(c, PROBLEM_ERROR,
               "the NodePool may start %s, which the profile does not have: its GPUs count whole, "
               "and Karpenter's provider for EC2 leaves it out of each launch that a type whose "
               "GPUs are masked fits, too",
               name);
    } else {
        report(c, PROBLEM_WARNING,
               "the NodePool may start %s, which the profile does not have: Karpenter counts its "
               "GPUs, not its slices",
               name);
    }
}

/* The values of the requirement of instance types; NULL: there is none. */
static const json_t *types_of(const struct checker *c)
{
    const json_t *requirements = json_object_get(c->template, "requirements");

    for (size_t i = 0; i < json_array_size(requirements); i++) {
        const json_t *one = json_array_get(requirements, i);
        const char *key = json_string_value(json_object_get(one, "key")),
                   *operator= json_string_value(json_object_get(one, "operator"));

        if (key && operator&& str_equal(key, NODEPOOL_INSTANCE_TYPE) && str_equal(operator, "In"))
            return json_object_get(one, "values");
    }
    return NULL;
}

static void check_types(const struct checker *c)
{
    const json_t *types = types_of(c);

    if (!types)
        report(
            c, PROBLEM_WARNING,
            "the NodePool does not name its instance types, so it may start some that the profile "
            "does not have; require %s In those of the profile",
            NODEPOOL_INSTANCE_TYPE);
    for (size_t i = 0; i < json_array_size(types); i++) {
        const char *name = json_string_value(json_array_get(types, i));

        if (name)
            check_type(c, name);
    }
}

static void check_class(const struct checker *c)
{
    const char *group =
        json_string_value(json_object_get(json_object_get(c->template, "nodeClassRef"), "group"));

    if (group && str_equal(group, SLICEPROFILE_AUTO_MODE))
        report(c, PROBLEM_ERROR,
               "the NodePool is one of EKS Auto Mode, whose nodes cannot be sliced and whose "
               "Karpenter has no NodeOverlays; give a NodePool of your own Karpenter");
}

static void check_habits(const struct checker *c)
{
    const json_t *limits = json_object_get(c->spec, "limits");

    if (!json_array_size(json_object_get(c->template, "taints")))
        report(c, PROBLEM_WARNING,
               "the NodePool's nodes have no taint, so that pods without a GPU keep them; add one, "
               "such as " NODEPOOL_TAINT ":NoSchedule");
    if (!json_object_get(limits, "nodes"))
        report(c, PROBLEM_NOTE, "nothing limits the number of nodes; spec.limits.nodes would");
    if (json_object_get(limits, NAME_GPU))
        report(c, PROBLEM_WARNING,
               "spec.limits names " NAME_GPU
               ", of which a sliced node has another number than GPUs; "
               "limit nodes");
}

/* With what its template needs, as YAML's flow style is JSON. */
static void report_missing(const struct checker *c)
{
    json_t *labels = nodepool_labels(c->profile),
           *annotations = nodepool_annotations(c->profile, c->promises),
           *needed = json_pack("{s:o, s:o}", "labels", labels, "annotations", annotations);
    cleanup_free char *shown = json_dumps(needed, 0);

    report(c, PROBLEM_NOTE, "the NodePool is in none of the files; spec.template.metadata needs %s",
           shown ? shown : "the profile's labels and annotations");
    json_decref(needed);
}

void poolcheck_compare(const struct sliceprofile *profile, const struct promises *promises,
                       bool only_types, const struct catalog *catalog, const json_t *pools,
                       struct problems *problems)
{
    const json_t *pool = find_pool(pools, profile->node_pool);
    struct checker c = {profile, promises, catalog, problems, NULL, NULL};

    if (!pool) {
        report_missing(&c);
        return;
    }
    c.spec = json_object_get(pool, "spec");
    c.template = json_object_get(json_object_get(c.spec, "template"), "spec");
    check_class(&c);
    check_labels(&c);
    check_annotations(&c);
    if (!only_types && promises->n_items)
        check_types(&c);
    check_habits(&c);
}
