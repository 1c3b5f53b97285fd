// SPDX-License-Identifier: Apache-2.0
#include "kube/managedfields.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "kube/field.h"

static const json_t *entries_of(const json_t *object)
{
    return json_object_get(kube_metadata(object), "managedFields");
}

/* Only what was applied goes away when it is not applied any more. */
static bool is_applied(const json_t *entry, const char *manager, const char *subresource)
{
    return kube_says(entry, "manager", manager) && kube_says(entry, "operation", "Apply") &&
           kube_says(entry, "subresource", subresource);
}

static json_t *find(const json_t *entry, const struct managed_field *field)
{
    json_t *at = json_object_get(entry, "fieldsV1");

    for (size_t i = 0; i < MANAGED_STEPS_MAX && field->steps[i] && at; i++)
        at = json_object_get(at, field->steps[i]);
    return at;
}

const json_t *managedfields_applied(const json_t *object, const char *manager,
                                    const char *subresource, const struct managed_field *field)
{
    const json_t *entry;
    size_t i;

    json_array_foreach(entries_of(object), i, entry)
    {
        const json_t *found = is_applied(entry, manager, subresource) ? find(entry, field) : NULL;

        if (found)
            return found;
    }
    return NULL;
}

const char *managedfields_other(const json_t *object, const struct managed_field *field,
                                const char *const *except)
{
    const json_t *entry;
    size_t i;

    json_array_foreach(entries_of(object), i, entry)
    {
        const char *manager = kube_text(entry, "manager");
        const char *const *one = except;

        while (*one && !str_equal(*one, manager))
            one++;
        if (*manager && !*one && find(entry, field))
            return manager;
    }
    return NULL;
}

const char *managedfields_time(const json_t *object, const char *manager)
{
    const char *newest = NULL;
    const json_t *entry;
    size_t i;

    json_array_foreach(entries_of(object), i, entry)
    {
        const char *time = kube_text(entry, "time");

        if (kube_says(entry, "manager", manager) && (!newest || strcmp(time, newest) > 0))
            newest = time;
    }
    return newest;
}

/* The entry's fields without the leaves; NULL without memory. */
static json_t *fields_without(const json_t *entry, const struct managed_field *parent,
                              json_t *leaves)
{
    json_t *fields = json_deep_copy(json_object_get(entry, "fieldsV1"));
    json_t *copy = fields ? json_pack("{s:o}", "fieldsV1", fields) : NULL;
    const char *leaf;
    json_t *ignored;

    if (!copy)
        return NULL;
    json_object_foreach(leaves, leaf, ignored) json_object_del(find(copy, parent), leaf);
    fields = json_incref(json_object_get(copy, "fieldsV1"));
    json_decref(copy);
    return fields;
}

json_t *managedfields_release(const json_t *object, const char *manager,
                              const struct managed_field *parent, json_t *leaves)
{
    const json_t *entry;
    char path[64];
    size_t i;

    json_array_foreach(entries_of(object), i, entry)
    {
        if (!is_applied(entry, manager, "") || !find(entry, parent))
            continue;
        snprintf(path, sizeof(path), "/metadata/managedFields/%zu/fieldsV1", i);
        return json_pack("[{s:s,s:s,s:O},{s:s,s:s,s:o}]", "op", "test", "path",
                         "/metadata/resourceVersion", "value",
                         json_object_get(kube_metadata(object), "resourceVersion"), "op", "replace",
                         "path", path, "value", fields_without(entry, parent, leaves));
    }
    return json_array();
}
