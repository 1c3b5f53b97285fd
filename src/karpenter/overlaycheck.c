// SPDX-License-Identifier: Apache-2.0
#include "karpenter/overlaycheck.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "karpenter/nodepool.h"
#include "karpenter/overlay.h"

/* The labels that Karpenter's provider for EC2 gives a type, as far as overlays may ask for them.
 */
static json_t *labels_of(const struct sliceprofile *profile, const struct instance_type *type)
{
    json_t *labels = nodepool_labels(profile);
    char count[16];

    snprintf(count, sizeof(count), "%u", type->n_gpus);
    json_object_set_new(labels, "karpenter.sh/nodepool",
                        json_string(*profile->node_pool ? profile->node_pool : profile->name));
    json_object_set_new(labels, NODEPOOL_INSTANCE_TYPE, json_string(type->name));
    json_object_set_new(labels, "kubernetes.io/os", json_string("linux"));
    json_object_set_new(labels, "kubernetes.io/arch", json_string(catalog_arch_name(type->arch)));
    json_object_set_new(labels, NODEPOOL_CLASS_GROUP "/instance-family", json_string(type->family));
    json_object_set_new(labels, NODEPOOL_CLASS_GROUP "/instance-gpu-name",
                        json_string(type->gpu_name));
    json_object_set_new(labels, NODEPOOL_CLASS_GROUP "/instance-gpu-manufacturer",
                        json_string("nvidia"));
    json_object_set_new(labels, NODEPOOL_CLASS_GROUP "/instance-gpu-count", json_string(count));
    return labels;
}

/* A quantity may be written as a number, too. */
static bool is_amount(const json_t *amount, size_t count)
{
    char text[24];

    snprintf(text, sizeof(text), "%zu", count);
    return json_is_integer(amount)
               ? (size_t)json_integer_value(amount) == count
               : json_is_string(amount) && str_equal(json_string_value(amount), text);
}

static void compare_resource(const struct promise *promise, const struct promise_resource *resource,
                             const json_t *amounts, const json_t *owners, struct problems *problems)
{
    const json_t *amount = json_object_get(amounts, resource->name);
    const char *owner = json_string_value(json_object_get(owners, resource->name));

    if (is_amount(amount, resource->count))
        return;
    if (!amount) {
        problem_add(problems, PROBLEM_ERROR, (struct position){0, 0}, promise->type->name,
                    "no NodeOverlay that Karpenter heeds sets %s, and a node will have %zu",
                    resource->name, resource->count);
        return;
    }
    problem_add(problems, PROBLEM_ERROR, (struct position){0, 0}, owner,
                "this NodeOverlay sets another amount of %s on a %s than the %zu that the node "
                "will have, and outweighs ours (weight %d); remove it, or make it match other "
                "types",
                resource->name, promise->type->name, resource->count, OVERLAY_WEIGHT);
}

static int compare_type(const struct sliceprofile *profile, const struct promise *promise,
                        const struct overlay *overlays, size_t n, struct problems *problems)
{
    json_t *labels = labels_of(profile, promise->type), *amounts, *owners;
    int r = overlay_evaluate(overlays, n, labels, problems, &amounts, &owners);

    json_decref(labels);
    if (r < 0)
        return r;
    for (size_t i = 0; i < promise->n_resources; i++)
        compare_resource(promise, &promise->resources[i], amounts, owners, problems);
    json_decref(amounts);
    json_decref(owners);
    return 0;
}

int overlaycheck_compare(const struct sliceprofile *profile, const struct promises *promises,
                         const json_t *objects, struct problems *problems)
{
    cleanup_free struct overlay *overlays = calloc(json_array_size(objects) + 1, sizeof(*overlays));
    size_t n = 0;
    int r = overlays ? 0 : -ENOMEM;

    for (size_t i = 0; i < json_array_size(objects) && r == 0; i++) {
        struct error err = ERROR_INIT;

        if (overlay_read(json_array_get(objects, i), &overlays[n], &err) == 0)
            n++;
        else
            problem_add(problems, PROBLEM_ERROR, (struct position){0, 0}, "", "%s",
                        error_text(&err));
    }
    for (size_t i = 0; i < promises->n_items && r == 0; i++)
        r = compare_type(profile, &promises->items[i], overlays, n, problems);
    return r;
}
