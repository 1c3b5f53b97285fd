// SPDX-License-Identifier: Apache-2.0
#include "nodesync/taints.h"

#include <errno.h>
#include <string.h>

#include "kube/field.h"
#include "kube/jsonpatch.h"

static bool is_same(const json_t *taint, const struct sync_taint *wanted)
{
    return kube_says(taint, "key", wanted->key) && kube_says(taint, "effect", wanted->effect);
}

static const struct sync_taint *find_wanted(const json_t *taint, const struct sync_taint *wanted,
                                            size_t n_wanted)
{
    for (size_t i = 0; i < n_wanted; i++)
        if (is_same(taint, &wanted[i]))
            return &wanted[i];
    return NULL;
}

static void format(const char *key, const char *value, const char *effect, struct text *out)
{
    text_addf(out, *value ? "%s=%s:%s" : "%s%s:%s", key, value, effect);
}

/* True if the remembered list has the taint with its current value. One that somebody gave another
 * value is theirs. */
static bool is_remembered(const json_t *taint, const char *remembered)
{
    cleanup_text struct text own = TEXT_INIT;
    const char *at = remembered;

    format(kube_text(taint, "key"), kube_text(taint, "value"), kube_text(taint, "effect"), &own);
    while (*at) {
        const size_t length = strcspn(at, ",");

        if (own.length == length && memcmp(at, text_string(&own), length) == 0)
            return true;
        at += length + (at[length] == ',');
    }
    return false;
}

static json_t *make_taint(const struct sync_taint *wanted)
{
    return json_pack("{s:s,s:s*,s:s}", "key", wanted->key, "value",
                     *wanted->value ? wanted->value : NULL, "effect", wanted->effect);
}

static void remember(const struct sync_taint *taint, struct text *ours)
{
    if (ours->length)
        text_add_char(ours, ',');
    format(taint->key, taint->value, taint->effect, ours);
}

/* Taints to keep: foreign ones, and ours that are still wanted, with the wanted value. */
static int keep_current(const json_t *current, const char *remembered,
                        const struct sync_taint *wanted, size_t n_wanted, json_t *list,
                        struct text *ours)
{
    const json_t *taint;
    size_t i;

    json_array_foreach(current, i, taint)
    {
        const struct sync_taint *row = find_wanted(taint, wanted, n_wanted);
        const bool is_ours = is_remembered(taint, remembered);

        if (is_ours && !row)
            continue;
        if (is_ours)
            remember(row, ours);
        if (is_ours && !kube_says(taint, "value", row->value)
                ? json_array_append_new(list, make_taint(row)) < 0
                : json_array_append(list, (json_t *)(uintptr_t)taint) < 0)
            return -ENOMEM;
    }
    return 0;
}

static int add_missing(const json_t *current, const struct sync_taint *wanted, size_t n_wanted,
                       json_t *list, struct text *ours)
{
    for (size_t i = 0; i < n_wanted; i++) {
        const json_t *taint;
        bool is_there = false;
        size_t k;

        json_array_foreach(current, k, taint) is_there = is_there || is_same(taint, &wanted[i]);
        if (is_there)
            continue;
        remember(&wanted[i], ours);
        if (json_array_append_new(list, make_taint(&wanted[i])) < 0)
            return -ENOMEM;
    }
    return 0;
}

static int make_patch(const json_t *node, json_t *list, const char *ours, json_t *operations)
{
    const json_t *current = json_object_get(json_object_get(node, "spec"), "taints");

    if (!json_equal(current, list) &&
        jsonpatch_change(operations, "/spec/taints", current,
                         json_array_size(list) ? json_incref(list) : NULL) < 0)
        return -ENOMEM;
    return jsonpatch_annotation(operations, node, TAINTS_ANNOTATION, *ours ? ours : NULL);
}

static int plan(const json_t *node, const struct sync_taint *wanted, size_t n_wanted, json_t *list,
                json_t *operations)
{
    const json_t *current = json_object_get(json_object_get(node, "spec"), "taints");
    const char *annotation = kube_annotation(node, TAINTS_ANNOTATION);
    const char *remembered = annotation ? annotation : "";
    cleanup_text struct text ours = TEXT_INIT;

    if (!list || !operations ||
        keep_current(current, remembered, wanted, n_wanted, list, &ours) < 0 ||
        add_missing(current, wanted, n_wanted, list, &ours) < 0 || text_failed(&ours))
        return -ENOMEM;
    if ((json_equal(current, list) || (!current && !json_array_size(list))) &&
        (annotation ? str_equal(remembered, text_string(&ours)) : !ours.length))
        return TAINTS_AS_WANTED;
    return make_patch(node, list, text_string(&ours), operations);
}

int taints_plan(const json_t *node, const struct sync_taint *wanted, size_t n_wanted,
                json_t **ret_operations)
{
    json_t *operations = json_array(), *list = json_array();
    int r = plan(node, wanted, n_wanted, list, operations);

    json_decref(list);
    if (r != 0)
        json_decref(operations);
    else
        *ret_operations = operations;
    return r;
}
