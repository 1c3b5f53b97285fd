// SPDX-License-Identifier: Apache-2.0
#include "karpenter/autoscaler.h"

#include "karpenter/nodepool.h"

#define TAG "k8s.io/cluster-autoscaler/node-template/"

static void add_resources(const struct promise *promise, json_t *tags)
{
    for (size_t i = 0; i < promise->n_resources; i++) {
        char key[sizeof(TAG "resources/") + RESOURCE_NAME_SIZE], count[24];

        snprintf(key, sizeof(key), TAG "resources/%s", promise->resources[i].name);
        snprintf(count, sizeof(count), "%zu", promise->resources[i].count);
        json_object_set_new(tags, key, json_string(count));
    }
}

static void add_labels(const struct sliceprofile *profile, json_t *tags)
{
    json_t *labels = nodepool_labels(profile), *value;
    const char *name;

    json_object_foreach(labels, name, value)
    {
        char key[sizeof(TAG "label/") + PROFILEMARK_KEY];

        snprintf(key, sizeof(key), TAG "label/%s", name);
        json_object_set(tags, key, value);
    }
    json_decref(labels);
}

/* "value:effect". The startup taint is none of the template: it goes before pods come. */
static void add_taints(const struct sliceprofile *profile, json_t *tags)
{
    json_t *taints = nodepool_taints(profile);

    for (size_t i = 0; i < json_array_size(taints); i++) {
        const json_t *taint = json_array_get(taints, i);
        const char *value = json_string_value(json_object_get(taint, "value"));
        char key[sizeof(TAG "taint/") + PROFILEMARK_KEY], text[PROFILEMARK_VALUE + 24];

        snprintf(key, sizeof(key), TAG "taint/%s",
                 json_string_value(json_object_get(taint, "key")));
        snprintf(text, sizeof(text), "%s:%s", value ? value : "",
                 json_string_value(json_object_get(taint, "effect")));
        json_object_set_new(tags, key, json_string(text));
    }
    json_decref(taints);
}

static void explain(const struct promise *promise, struct documents *documents)
{
    documents_comment(documents, "Tags of an Auto Scaling group of these instance types alone.");
    documents_comment(documents, "Run cluster-autoscaler with --startup-taint " //
                      SLICEPROFILE_STARTUP_TAINT
                                 " if nodes register with that taint, or it starts too many.");
    if (promise->is_masked)
        documents_comment(documents,
                          "The nodes must not have the label k8s.amazonaws.com/accelerator: "
                          "without " NODEPOOL_TAINT " cluster-autoscaler would take "
                          "them for broken.");
}

int autoscaler_make(const struct sliceprofile *profile, const struct promises *promises,
                    struct documents *documents)
{
    int r = 0;

    for (size_t i = 0; i < promises->n_items && r == 0; i++) {
        json_t *types = promises_like(promises, i), *tags;

        if (!types)
            continue;
        tags = json_object();
        add_resources(&promises->items[i], tags);
        add_labels(profile, tags);
        add_taints(profile, tags);
        r = documents_add(documents, json_pack("{s:s, s:o, s:o}", "profile", profile->name,
                                               "instanceTypes", types, "tags", tags));
        if (r == 0)
            explain(&promises->items[i], documents);
    }
    return r;
}
