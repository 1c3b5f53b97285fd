// SPDX-License-Identifier: Apache-2.0
#include "karpenter/profilemarks.h"

#include <errno.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/kubename.h"
#include "base/text.h"
#include "base/yamlmap.h"
#include "karpenter/nodekeys.h"

#define refuse yamlmap_refuse

void profilemarks_deinit(struct profilemarks *marks)
{
    free(marks->labels);
    free(marks->taints);
    *marks = (struct profilemarks){.labels = NULL};
}

int profilemarks_add_label(struct profilemarks *marks, const char *key, const char *value)
{
    struct profile_label *label =
        array_push(&marks->labels, &marks->n_labels, &marks->labels_capacity, sizeof(*label));

    if (!label)
        return -ENOMEM;
    str_copy(label->key, sizeof(label->key), key);
    str_copy(label->value, sizeof(label->value), value);
    return 0;
}

static struct profile_taint *push_taint(struct profilemarks *marks)
{
    return array_push(&marks->taints, &marks->n_taints, &marks->taints_capacity,
                      sizeof(*marks->taints));
}

int profilemarks_add_taint(struct profilemarks *marks, const char *key, const char *value,
                           const char *effect)
{
    struct profile_taint *taint = push_taint(marks);

    if (!taint)
        return -ENOMEM;
    str_copy(taint->key, sizeof(taint->key), key);
    str_copy(taint->value, sizeof(taint->value), value);
    str_copy(taint->effect, sizeof(taint->effect), effect);
    marks->has_taints = true;
    return 0;
}

/* ---- Reading ---- */

struct reader {
    struct problems *problems;
    struct profilemarks *marks;
    bool failed; /* without memory */
};

/* Karpenter and we set these ourselves. */
static bool is_ours(const char *key)
{
    return str_equal(key, SLICEPROFILE_LABEL) || str_equal(key, SLICEPROFILE_HASH_LABEL) ||
           str_starts_with(key, "karpenter.sh/");
}

static void read_label(struct reader *r, const struct yaml *node)
{
    struct error err = ERROR_INIT;

    if (kubename_check_key(node->key, &err) < 0 ||
        (node->text && *node->text && kubename_check_value(node->text, &err) < 0))
        refuse(r->problems, node->at, "spec.labels", "%s", error_text(&err));
    else if (!node->text || is_ours(node->key))
        refuse(r->problems, node->at, "spec.labels",
               node->text ? "gpuslice or Karpenter sets this label itself; remove it"
                          : "expected a text; write \"\" for an empty one");
    else if (profilemarks_add_label(r->marks, node->key, node->text) < 0)
        r->failed = true;
}

static void read_labels(struct reader *r, const struct yaml *node)
{
    if (!node || !yamlmap_check_kind(r->problems, node, YAML_MAP, "spec.labels"))
        return;
    for (size_t i = 0; i < node->n_children && i < PROFILEMARKS_MAX; i++)
        read_label(r, &node->children[i]);
    if (node->n_children > PROFILEMARKS_MAX)
        refuse(r->problems, node->at, "spec.labels", "more than %d labels", PROFILEMARKS_MAX);
}

static bool parse_key(const char *text, void *to)
{
    return kubename_check_key(text, NULL) == 0 && str_copy(to, PROFILEMARK_KEY, text) == 0;
}

static bool parse_value(const char *text, void *to)
{
    return (!*text || kubename_check_value(text, NULL) == 0) &&
           str_copy(to, PROFILEMARK_VALUE, text) == 0;
}

static bool parse_effect(const char *text, void *to)
{
    return (str_equal(text, "NoSchedule") || str_equal(text, "PreferNoSchedule") ||
            str_equal(text, "NoExecute")) &&
           str_copy(to, sizeof(((struct profile_taint *)0)->effect), text) == 0;
}

static const struct yamlmap_field taint_fields[] = {
    {"key", .kind = YAMLMAP_WORD, YAMLMAP_AT(profile_taint, key), .parse = parse_key,
     .expected = "the key of a taint, such as nvidia.com/gpu-shared", .required = true},
    {"value", .kind = YAMLMAP_WORD, YAMLMAP_AT(profile_taint, value), .parse = parse_value,
     .expected = "a value of at most 63 letters, digits, '-', '_' and '.'"},
    {"effect", .kind = YAMLMAP_WORD, YAMLMAP_AT(profile_taint, effect), .parse = parse_effect,
     .expected = "NoSchedule, PreferNoSchedule or NoExecute", .required = true},
    {NULL},
};

static void read_taint(void *context, const struct yaml *item, const char *path)
{
    struct reader *r = context;
    struct profile_taint *taint = push_taint(r->marks);

    if (!taint)
        r->failed = true;
    else
        yamlmap_read(r->problems, taint_fields, item, path, taint);
}

int profilemarks_read(struct problems *problems, const struct yaml *spec,
                      struct profilemarks *marks)
{
    const struct yaml *taints = yaml_get(spec, "taints");
    struct reader r = {.problems = problems, .marks = marks};

    read_labels(&r, yaml_get(spec, "labels"));
    marks->has_taints = taints != NULL;
    if (taints)
        yamlmap_read_list(problems, taints, "spec.taints", PROFILEMARKS_MAX, read_taint, &r);
    return r.failed ? -ENOMEM : 0;
}

/* ---- Writing ---- */

static json_t *labels_json(const struct profilemarks *marks)
{
    json_t *labels = json_object();

    for (size_t i = 0; i < marks->n_labels; i++)
        json_object_set_new(labels, marks->labels[i].key, json_string(marks->labels[i].value));
    return labels;
}

json_t *profilemarks_taints(const struct profilemarks *marks)
{
    json_t *taints = json_array();

    for (size_t i = 0; i < marks->n_taints; i++) {
        const struct profile_taint *taint = &marks->taints[i];

        json_array_append_new(taints, json_pack("{s:s, s:s*, s:s}", "key", taint->key, "value",
                                                *taint->value ? taint->value : NULL, "effect",
                                                taint->effect));
    }
    return taints;
}

void profilemarks_write(const struct profilemarks *marks, json_t *spec)
{
    if (marks->n_labels)
        json_object_set_new(spec, "labels", labels_json(marks));
    if (marks->has_taints)
        json_object_set_new(spec, "taints", profilemarks_taints(marks));
}
