// SPDX-License-Identifier: Apache-2.0
#include "nodesync/node.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/kubename.h"
#include "kube/field.h"

static const char *metadata_text(const json_t *node, const char *key)
{
    return json_string_value(json_object_get(kube_metadata(node), key));
}

const char *node_uid(const json_t *node)
{
    return metadata_text(node, "uid");
}

static bool is_equal(const char *a, const char *b)
{
    return a && b && str_equal(a, b);
}

bool node_is_same(const json_t *a, const json_t *b)
{
    return is_equal(node_uid(a), node_uid(b)) &&
           is_equal(metadata_text(a, "resourceVersion"), metadata_text(b, "resourceVersion"));
}

bool node_is_later(const json_t *candidate, const json_t *than)
{
    const char *new = metadata_text(candidate, "resourceVersion");
    const char *old = than ? metadata_text(than, "resourceVersion") : NULL;

    if (!new || !old || !is_equal(node_uid(candidate), node_uid(than)))
        return true;
    /* Decimal numbers without leading zeroes, of any length. */
    return strlen(new) != strlen(old) ? strlen(new) > strlen(old) : strcmp(new, old) > 0;
}

json_t *node_keep(const json_t *node)
{
    static const char *const dropped[] = {"images",    "volumesAttached", "volumesInUse",
                                          "addresses", "nodeInfo",        "daemonEndpoints"};
    json_t *status = json_copy(json_object_get(node, "status"));
    json_t *copy = json_copy((json_t *)(uintptr_t)node);

    for (size_t i = 0; status && i < ARRAY_SIZE(dropped); i++)
        json_object_del(status, dropped[i]);
    if (copy && status && json_object_set_new(copy, "status", status) < 0) {
        json_decref(copy);
        return NULL;
    }
    return copy;
}

static int64_t quantity_at(const json_t *map, const char *key)
{
    const json_t *quantity = json_object_get(map, key);

    return quantity ? kube_count(quantity) : 0;
}

int64_t node_allocatable(const json_t *node, const char *name)
{
    return quantity_at(json_object_get(json_object_get(node, "status"), "allocatable"), name);
}

/* Resources of device plugins have a domain in their name; cpu and memory do not. */
static int add_resources(json_t *capacity, const json_t *allocatable, struct sync_news *news)
{
    struct sync_resource *resource;
    const char *name;
    json_t *ignored;

    json_object_foreach(capacity, name, ignored)
    {
        const int64_t n = quantity_at(capacity, name);

        if (!strchr(name, '/') || n < 0)
            continue;
        resource = array_push(&news->resources, &news->n_resources, &news->resources_capacity,
                              sizeof(*resource));
        if (!resource)
            return -ENOMEM;
        resource->capacity = n;
        resource->allocatable = quantity_at(allocatable, name);
        resource->name = strdup(name);
        if (!resource->name)
            return -ENOMEM;
    }
    return 0;
}

/* The keys that the Node has. */
static int add_watched(char *const *keys, size_t n_keys, const json_t *node,
                       const char *(*value_of)(const json_t *node, const char *key),
                       struct sync_label **values, size_t *n, size_t *capacity)
{
    for (size_t i = 0; i < n_keys; i++) {
        const char *value = value_of(node, keys[i]);
        struct sync_label *label;

        if (!value)
            continue;
        label = array_push(values, n, capacity, sizeof(*label));
        if (!label)
            return -ENOMEM;
        *label = (struct sync_label){strdup(keys[i]), strdup(value)};
        if (!label->key || !label->value)
            return -ENOMEM;
    }
    return 0;
}

int node_news(const json_t *node, const struct sync_setup *setup, struct sync_news *ret_news)
{
    const json_t *status = json_object_get(node, "status");
    struct sync_news news = {.reachable = false};
    int r = add_watched(setup->watched_labels, setup->n_watched_labels, node, kube_label,
                        &news.labels, &news.n_labels, &news.labels_capacity);

    if (r == 0)
        r = add_watched(setup->watched_annotations, setup->n_watched_annotations, node,
                        kube_annotation, &news.annotations, &news.n_annotations,
                        &news.annotations_capacity);
    if (r == 0)
        r = add_resources(json_object_get(status, "capacity"),
                          json_object_get(status, "allocatable"), &news);
    if (r < 0) {
        sync_news_deinit(&news);
        return r;
    }
    *ret_news = news;
    return 0;
}

const char *node_label_fault(const char *key, const char *value)
{
    if (kubename_check_key(key, NULL) < 0)
        return "a label's key is [domain/]name, where name has at most 63 letters, digits or -_. "
               "and begins and ends with a letter or digit";
    if (kubename_check_value(value, NULL) < 0)
        return "a label's value has at most 63 letters, digits or -_. and begins and ends with a "
               "letter or digit";
    return NULL;
}
