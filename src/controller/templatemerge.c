// SPDX-License-Identifier: Apache-2.0
#include "controller/templatemerge.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/array.h"
#include "base/text.h"
#include "controller/owned.h"
#include "kube/field.h"
#include "kube/jsonpatch.h"

static const char *const maps[] = {"labels", "annotations"};
static const char *const lists[] = {"taints", "startupTaints"};

/* `template` has maps in metadata, and lists in spec. Made where it is missing. */
static json_t *section(json_t *template, const char *name)
{
    json_t *found = json_object_get(template, name);

    if (!json_is_object(found)) { /* the API server has no others */
        found = json_object();
        json_object_set_new(template, name, found);
    }
    return found;
}

/* -- taking away ------------------------------------------------------------------------------- */

/* Recorded is {key: what was there, null for nothing}. */
static void restore_map(json_t *map, const json_t *recorded)
{
    const char *key;
    json_t *was;

    json_object_foreach((json_t *)(uintptr_t)recorded, key, was)
    {
        if (json_is_string(was))
            json_object_set(map, key, was);
        else
            json_object_del(map, key);
    }
}

static size_t index_of(const json_t *list, const json_t *value)
{
    size_t i = 0;

    while (i < json_array_size(list) && !json_equal(json_array_get(list, i), value))
        i++;
    return i;
}

static void restore_list(json_t *list, const json_t *recorded)
{
    for (size_t i = 0; i < json_array_size(recorded); i++) {
        size_t at = index_of(list, json_array_get(recorded, i));

        if (at < json_array_size(list))
            json_array_remove(list, at);
    }
}

static void restore(json_t *template, const json_t *record)
{
    json_t *metadata = section(template, "metadata"), *spec = section(template, "spec");

    for (size_t i = 0; i < ARRAY_SIZE(maps); i++)
        restore_map(json_object_get(metadata, maps[i]), json_object_get(record, maps[i]));
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        restore_list(json_object_get(spec, lists[i]), json_object_get(record, lists[i]));
}

/* -- adding ------------------------------------------------------------------------------------ */

static void add_map(json_t *metadata, const char *name, const json_t *part, json_t *record)
{
    json_t *map = section(metadata, name), *added = json_object(), *value;
    const char *key;

    json_object_foreach((json_t *)(uintptr_t)part, key, value)
    {
        json_t *was = json_object_get(map, key);

        if (was && json_equal(was, value))
            continue;
        json_object_set_new(added, key, json_is_string(was) ? json_incref(was) : json_null());
        json_object_set(map, key, value);
    }
    if (json_object_size(added))
        json_object_set(record, name, added);
    json_decref(added);
}

/* A taint with this key and effect is there, with whatever value. */
static bool has_taint(const json_t *list, const json_t *taint)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i);

        if (json_equal(json_object_get(one, "key"), json_object_get(taint, "key")) &&
            json_equal(json_object_get(one, "effect"), json_object_get(taint, "effect")))
            return true;
    }
    return false;
}

static void add_list(json_t *spec, const char *name, const json_t *part, json_t *record)
{
    json_t *list = json_object_get(spec, name), *added = json_array();

    if (!list && json_array_size(part)) {
        list = json_array();
        json_object_set_new(spec, name, list);
    }
    for (size_t i = 0; i < json_array_size(part); i++) {
        json_t *taint = json_array_get(part, i);

        if (has_taint(list, taint))
            continue;
        json_array_append(list, taint);
        json_array_append(added, taint);
    }
    if (json_array_size(added))
        json_object_set(record, name, added);
    json_decref(added);
}

static void add(json_t *template, const json_t *parts, json_t *record)
{
    json_t *metadata = section(template, "metadata"), *spec = section(template, "spec");

    for (size_t i = 0; i < ARRAY_SIZE(maps); i++)
        add_map(metadata, maps[i], json_object_get(parts, maps[i]), record);
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        add_list(spec, lists[i], json_object_get(parts, lists[i]), record);
}

static bool is_empty(const json_t *value)
{
    return json_object_size(value) == 0 && json_array_size(value) == 0;
}

/* What has become empty; one that somebody wrote so stays. */
static void prune(json_t *merged, const json_t *template, const char *name)
{
    const json_t *was = json_object_get(template, name);

    if (is_empty(json_object_get(merged, name)) && (!was || !is_empty(was)))
        json_object_del(merged, name);
}

static void prune_all(json_t *merged, const json_t *template)
{
    for (size_t i = 0; i < ARRAY_SIZE(maps); i++)
        prune(json_object_get(merged, "metadata"), json_object_get(template, "metadata"), maps[i]);
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        prune(json_object_get(merged, "spec"), json_object_get(template, "spec"), lists[i]);
    prune(merged, template, "metadata");
    prune(merged, template, "spec");
}

int templatemerge(const json_t *template, const json_t *record, const json_t *parts,
                  const char *profile, json_t **ret_template, json_t **ret_record)
{
    json_t *merged = json_is_object(template) ? json_deep_copy(template) : json_object();
    json_t *added = json_object();

    if (!merged || !added) {
        json_decref(merged);
        json_decref(added);
        return -ENOMEM;
    }
    restore(merged, record);
    add(merged, parts, added);
    prune_all(merged, template);
    if (json_object_size(added)) {
        json_object_set_new(added, "profile", json_string(profile));
    } else {
        json_decref(added);
        added = NULL;
    }
    *ret_template = merged;
    *ret_record = added;
    return 0;
}

/* -- as a patch -------------------------------------------------------------------------------- */

/* An empty one and none are the same to Karpenter. */
static int change_part(json_t *operations, const char *path, const json_t *was, const json_t *is)
{
    if ((is_empty(was) && is_empty(is)) || json_equal(was, is))
        return 0;
    return jsonpatch_change(operations, path, was,
                            is_empty(is) ? NULL : json_incref((json_t *)(uintptr_t)is));
}

static int change_metadata(json_t *operations, const json_t *was, const json_t *is)
{
    static const char *const paths[] = {"/spec/template/metadata/labels",
                                        "/spec/template/metadata/annotations"};
    int r = 0;

    if (!was)
        return change_part(operations, "/spec/template/metadata", NULL, is);
    for (size_t i = 0; i < ARRAY_SIZE(maps) && r == 0; i++)
        r = change_part(operations, paths[i], json_object_get(was, maps[i]),
                        json_object_get(is, maps[i]));
    return r;
}

json_t *templatemerge_operations(const json_t *template, const json_t *wanted)
{
    static const char *const paths[] = {"/spec/template/spec/taints",
                                        "/spec/template/spec/startupTaints"};
    const json_t *was = json_object_get(template, "spec"), *is = json_object_get(wanted, "spec");
    json_t *operations = json_array();
    int r = change_metadata(operations, json_object_get(template, "metadata"),
                            json_object_get(wanted, "metadata"));

    for (size_t i = 0; i < ARRAY_SIZE(lists) && r == 0; i++)
        r = change_part(operations, paths[i], json_object_get(was, lists[i]),
                        json_object_get(is, lists[i]));
    if (r == 0)
        return operations;
    json_decref(operations);
    return NULL;
}

/* -- the record -------------------------------------------------------------------------------- */

json_t *templatemerge_record(const json_t *pool)
{
    json_t *record = json_loads(owned_annotation(pool, TEMPLATEMERGE_RECORD), 0, NULL);

    if (*templatemerge_profile(record))
        return record;
    json_decref(record);
    return NULL;
}

const char *templatemerge_profile(const json_t *record)
{
    return kube_text(record, "profile");
}
