// SPDX-License-Identifier: Apache-2.0
#include "controller/owned.h"

#include <stdint.h>

#include "base/text.h"
#include "karpenter/sliceprofile.h"
#include "kube/field.h"

const char *owned_label(const json_t *object, const char *key)
{
    return kube_text(json_object_get(kube_metadata(object), "labels"), key);
}

const char *owned_annotation(const json_t *object, const char *key)
{
    return kube_text(json_object_get(kube_metadata(object), "annotations"), key);
}

bool owned_is_ours(const json_t *object, const char *profile)
{
    const char *of = owned_label(object, SLICEPROFILE_LABEL);

    return str_equal(owned_label(object, OWNED_MANAGED_LABEL), OWNED_MANAGER) && *of &&
           (!profile || str_equal(of, profile));
}

void owned_claim(json_t *object, const char *profile)
{
    json_t *metadata = kube_metadata(object);
    json_t *labels = json_object_get(metadata, "labels");

    if (!labels) {
        labels = json_object();
        json_object_set_new(metadata, "labels", labels);
    }
    json_object_set_new(labels, SLICEPROFILE_LABEL, json_string(profile));
    json_object_set_new(labels, OWNED_MANAGED_LABEL, json_string(OWNED_MANAGER));
}

json_t *owned_find(const json_t *objects, const char *name)
{
    for (size_t i = 0; i < json_array_size(objects); i++)
        if (str_equal(kube_name(json_array_get(objects, i)), name))
            return json_array_get(objects, i);
    return NULL;
}

bool owned_has(const json_t *all, const json_t *part)
{
    const char *key;
    json_t *value;

    if (!json_is_object(part))
        return json_equal(all, part);
    json_object_foreach((json_t *)(uintptr_t)part, key, value)
    {
        if (!owned_has(json_object_get(all, key), value))
            return false;
    }
    return json_is_object(all);
}
