// SPDX-License-Identifier: Apache-2.0
#include "karpenter/placeholder.h"

#include <errno.h>
#include <stdlib.h>

#include "base/text.h"
#include "karpenter/cost.h"
#include "karpenter/nodepool.h"

#define LABEL    "gpuslice.dev/placeholder"
#define PRIORITY "gpuslice-placeholder"
#define IMAGE    "registry.k8s.io/pause:3.10"
#define HOSTNAME "kubernetes.io/hostname"

/* How many slices pods of one slice can have on such a node, beside the placeholder. */
static size_t slices_of(const struct promise *promise)
{
    const size_t n_pods = promise->type->max_pods ? promise->type->max_pods - 1 : SIZE_MAX;

    return n_pods < promise->n_slices ? n_pods : promise->n_slices;
}

static size_t count_kinds(const struct promise *promise)
{
    size_t n = 0;

    for (size_t i = 0; i < promise->n_resources; i++)
        n += promise->resources[i].count > 0;
    return n;
}

/* ---- Objects ---- */

static json_t *make_tolerations(const struct sliceprofile *profile)
{
    json_t *taints = nodepool_taints(profile), *tolerations = json_array();

    for (size_t i = 0; i < json_array_size(taints); i++) {
        const json_t *taint = json_array_get(taints, i);

        json_array_append_new(tolerations,
                              json_pack("{s:O, s:s, s:O}", "key", json_object_get(taint, "key"),
                                        "operator", "Exists", "effect",
                                        json_object_get(taint, "effect")));
    }
    json_decref(taints);
    return tolerations;
}

/* No two placeholders of whatever profile on one node. */
static json_t *make_affinity(void)
{
    return json_pack("{s:{s:[{s:s, s:{s:[{s:s, s:s}]}}]}}", "podAntiAffinity",
                     "requiredDuringSchedulingIgnoredDuringExecution", "topologyKey", HOSTNAME,
                     "labelSelector", "matchExpressions", "key", LABEL, "operator", "Exists");
}

static json_t *make_pod(const struct sliceprofile *profile, const struct promise *promise)
{
    json_t *spec = json_pack("{s:s, s:i, s:b, s:{s:s, s:s}, s:o, s:[{s:s, s:s, s:{s:{s:s, s:s}}}]}",
                             "priorityClassName", PRIORITY, "terminationGracePeriodSeconds", 0,
                             "automountServiceAccountToken", 0, "nodeSelector", SLICEPROFILE_LABEL,
                             profile->name, NODEPOOL_INSTANCE_TYPE, promise->type->name, "affinity",
                             make_affinity(), "containers", "name", "placeholder", "image", IMAGE,
                             "resources", "requests", "cpu", "1m", "memory", "8Mi");
    json_t *tolerations = make_tolerations(profile);

    if (json_array_size(tolerations))
        json_object_set(spec, "tolerations", tolerations);
    json_decref(tolerations);
    return spec;
}

/* "p-placeholder-g5-12xlarge": the name of an object has no more than labels' names have. */
static void name_deployment(const struct sliceprofile *profile, const struct promise *promise,
                            struct text *name)
{
    text_addf(name, "%s-placeholder-", profile->name);
    for (const char *c = promise->type->name; *c; c++)
        text_add_char(name, *c == '.' ? '-' : *c);
}

static int add_deployment(const struct sliceprofile *profile, const struct promise *promise,
                          size_t n_nodes, struct documents *documents)
{
    cleanup_text struct text name = TEXT_INIT;
    int r;

    name_deployment(profile, promise, &name);
    r = documents_add(
        documents,
        json_pack("{s:s, s:s, s:{s:s, s:{s:s}}, s:{s:I, s:{s:{s:s, s:s}}, s:{s:{s:{s:s, s:s}}, "
                  "s:o}}}",
                  "apiVersion", "apps/v1", "kind", "Deployment", "metadata", "name",
                  text_string(&name), "labels", LABEL, profile->name, "spec", "replicas",
                  (json_int_t)n_nodes, "selector", "matchLabels", LABEL, profile->name,
                  NODEPOOL_INSTANCE_TYPE, promise->type->name, "template", "metadata", "labels",
                  LABEL, profile->name, NODEPOOL_INSTANCE_TYPE, promise->type->name, "spec",
                  make_pod(profile, promise)));
    if (r == 0)
        documents_comment(documents,
                          "Each replica keeps one %s, for %zu slices in pods of one slice. Fewer "
                          "replicas: Karpenter removes nodes that are empty.",
                          promise->type->name, slices_of(promise));
    return r;
}

static bool is_there(const struct documents *documents)
{
    for (size_t i = 0; i < documents->n_items; i++) {
        const char *kind = json_string_value(json_object_get(documents->items[i].tree, "kind"));

        if (kind && str_equal(kind, "PriorityClass"))
            return true;
    }
    return false;
}

/* One for all profiles. */
static int add_priority(struct documents *documents)
{
    int r;

    if (is_there(documents))
        return 0;
    r = documents_add(documents,
                      json_pack("{s:s, s:s, s:{s:s}, s:i, s:s, s:s}", "apiVersion",
                                "scheduling.k8s.io/v1", "kind", "PriorityClass", "metadata", "name",
                                PRIORITY, "value", -1000, "preemptionPolicy", "Never",
                                "description", "Pods that keep a node and give way to any other."));

    if (r == 0)
        documents_comment(documents, "For Karpenter without NodeOverlays. It starts one node for "
                                     "each placeholder, and none for pods that ask for slices: how "
                                     "many there are is up to you, or to an autoscaler of "
                                     "Deployments.");
    return r;
}

/* ---- Arithmetic ---- */

static bool is_any_priced(const struct promises *promises, const uint64_t *hourly)
{
    for (size_t i = 0; i < promises->n_items; i++)
        if (hourly[i])
            return true;
    return false;
}

/* Sets counts[promises->n_items]. */
static int choose_nodes(const struct promises *promises, const uint64_t *hourly, size_t n_slices,
                        size_t *counts, struct error *err)
{
    cleanup_free struct cost_offer *offers = calloc(promises->n_items + 1, sizeof(*offers));
    cleanup_free size_t *at = calloc(promises->n_items + 1, sizeof(*at)),
                        *chosen = calloc(promises->n_items + 1, sizeof(*chosen));
    const bool has_prices = is_any_priced(promises, hourly);
    size_t n = 0;
    int r;

    if (!offers || !at || !chosen)
        return -ENOMEM;
    for (size_t i = 0; i < promises->n_items; i++) {
        const struct promise *promise = &promises->items[i];
        const uint64_t price = has_prices ? hourly[i] : promise->type->n_gpus;

        if (!price || !slices_of(promise))
            continue;
        at[n] = i;
        offers[n++] = (struct cost_offer){slices_of(promise), price};
    }
    r = cost_cheapest(offers, n, n_slices, chosen);
    for (size_t i = 0; i < n && r == 0; i++)
        counts[at[i]] = chosen[i];
    return r == -ERANGE ? error_set(err, r, "placeholders are for 1 to %d slices", COST_SLICES_MAX)
                        : r;
}

int placeholder_make(const struct sliceprofile *profile, const struct promises *promises,
                     const uint64_t *hourly, size_t n_slices, struct documents *documents,
                     struct error *err)
{
    cleanup_free size_t *counts = calloc(promises->n_items + 1, sizeof(*counts));
    int r = counts ? 0 : -ENOMEM;

    if (count_kinds(&promises->items[0]) != 1)
        return error_set(err, -EINVAL,
                         "its nodes have several kinds of slice, so that a number of slices does "
                         "not say how many nodes there must be; give a profile with one kind, such "
                         "as layout: all-1g.5gb");
    if (r == 0)
        r = choose_nodes(promises, hourly, n_slices, counts, err);
    if (r == 0)
        r = add_priority(documents);
    for (size_t i = 0; i < promises->n_items && r == 0; i++)
        if (counts[i])
            r = add_deployment(profile, &promises->items[i], counts[i], documents);
    return r;
}
