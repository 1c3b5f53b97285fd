// SPDX-License-Identifier: Apache-2.0
#include "karpenter/configannotations.h"

#include <stdint.h>
#include <string.h>

#include "base/array.h"
#include "base/number.h"
#include "base/text.h"
#include "karpenter/nodepool.h"

#define OURS  "gpuslice.dev/"
#define TYPES OURS "instance-types"
#define GPUS  OURS "gpu-names"

static json_t *all_of(const struct configannotations *from)
{
    return json_object_get(json_object_get(from->config_map, "metadata"), "annotations");
}

/* An annotation has no place in a file. */
#define refuse(from, annotation, ...) \
    problem_add((from)->problems, PROBLEM_ERROR, (struct position){0, 0}, annotation, __VA_ARGS__)

/* The text up to the next comma, without blanks around it; *text is what follows, NULL at the end.
 */
static json_t *next_word(const char **text)
{
    const char *start = *text + strspn(*text, " \t\n"), *end = start + strcspn(start, ",");

    *text = *end ? end + 1 : NULL;
    while (end > start && strchr(" \t\n", end[-1]))
        end--;
    return json_stringn(start, (size_t)(end - start));
}

static json_t *read_list(const struct configannotations *from, const char *annotation,
                         const char *text)
{
    json_t *list = json_array();

    while (text)
        json_array_append_new(list, next_word(&text));
    return list;
}

static json_t *read_text(const struct configannotations *from, const char *annotation,
                         const char *text)
{
    return json_string(text);
}

static json_t *read_count(const struct configannotations *from, const char *annotation,
                          const char *text)
{
    uint32_t number;

    if (number_parse(text, &number))
        return json_integer(number);
    refuse(from, annotation, "expected a number");
    return NULL;
}

/* As kubectl writes it: a name, or Kind.group/name. */
static json_t *read_class(const struct configannotations *from, const char *annotation,
                          const char *text)
{
    const char *slash = strchr(text, '/'), *dot = strchr(text, '.');

    if (!slash)
        return json_pack("{s:s, s:s, s:s}", "group", NODEPOOL_CLASS_GROUP, "kind",
                         NODEPOOL_CLASS_KIND, "name", text);
    if (dot && dot > text && dot + 1 < slash)
        return json_pack("{s:s%, s:s%, s:s}", "group", dot + 1, (size_t)(slash - dot - 1), "kind",
                         text, (size_t)(dot - text), "name", slash + 1);
    refuse(from, annotation,
           "expected the name of an EC2NodeClass, or Kind.group/name, such as "
           "EC2NodeClass.karpenter.k8s.aws/default");
    return NULL;
}

/* As kubectl writes it: key=value:Effect or key:Effect. NULL = it is none. */
static json_t *read_taint(const char *word)
{
    const char *colon = strrchr(word, ':'), *equals = strchr(word, '=');

    if (!colon)
        return NULL;
    if (!equals || equals > colon)
        return json_pack("{s:s%, s:s}", "key", word, (size_t)(colon - word), "effect", colon + 1);
    return json_pack("{s:s%, s:s%, s:s}", "key", word, (size_t)(equals - word), "value", equals + 1,
                     (size_t)(colon - equals - 1), "effect", colon + 1);
}

/* "" = none. */
static json_t *read_taints(const struct configannotations *from, const char *annotation,
                           const char *text)
{
    json_t *taints = json_array();

    if (!text[strspn(text, " ")])
        return taints;
    while (text) {
        json_t *word = next_word(&text), *taint = word ? read_taint(json_string_value(word)) : NULL;

        if (taint)
            json_array_append_new(taints, taint);
        else
            refuse(from, annotation,
                   "expected taints such as nvidia.com/gpu=shared:NoSchedule, with "
                   "commas between them, or nothing for none");
        json_decref(word);
    }
    return taints;
}

static const struct {
    const char *annotation, *field; /* of the spec */
    json_t *(*read)(const struct configannotations *from, const char *annotation, const char *text);
} annotations[] = {
    {TYPES, "instanceTypes", read_list},
    {GPUS, "gpuNames", read_list},
    {OURS "node-pool", "nodePool", read_text},
    {OURS "node-class", "nodeClass", read_class},
    {OURS "taints", "taints", read_taints},
    {OURS "capacity-types", "capacityTypes", read_list},
    {OURS "max-nodes", "maxNodes", read_count},
    {OURS "consolidate-after", "consolidateAfter", read_text},
};

/* Of this key alone, else of all; NULL = there is none. */
static const char *find_annotation(const struct configannotations *from, const char *annotation)
{
    cleanup_text struct text own = TEXT_INIT;
    const char *found;

    text_addf(&own, "%s.%s", annotation, from->key);
    found = json_string_value(json_object_get(all_of(from), text_string(&own)));
    return found ? found : json_string_value(json_object_get(all_of(from), annotation));
}

static void read_values(const struct configannotations *from, json_t *spec)
{
    for (size_t i = 0; i < ARRAY_SIZE(annotations); i++) {
        const char *text = find_annotation(from, annotations[i].annotation);
        json_t *value = text ? annotations[i].read(from, annotations[i].annotation, text) : NULL;

        if (value)
            json_object_set_new(spec, annotations[i].field, value);
    }
}

/* What follows a known annotation; NULL = it is none. */
static const char *suffix_of(const char *annotation)
{
    for (size_t i = 0; i < ARRAY_SIZE(annotations); i++) {
        const char *known = annotations[i].annotation;
        char next = str_starts_with(annotation, known) ? annotation[strlen(known)] : ' ';

        if (!next || next == '.')
            return annotation + strlen(known);
    }
    return NULL;
}

/* A word that nobody reads would be a pool that nobody meant. */
static void check_names(const struct configannotations *from)
{
    const char *known[ARRAY_SIZE(annotations)], *name;
    json_t *value;

    for (size_t i = 0; i < ARRAY_SIZE(annotations); i++)
        known[i] = annotations[i].annotation;
    json_object_foreach(all_of(from), name, value)
    {
        const char *suffix = suffix_of(name), *near;

        if (!str_starts_with(name, OURS))
            continue;
        near = suffix ? NULL : str_suggest(name, known, ARRAY_SIZE(known));
        if (!suffix)
            refuse(from, name, "unknown annotation%s%s%s", near ? "; did you mean " : "",
                   near ? near : "", near ? "?" : "");
        else if (*suffix && !json_object_get(json_object_get(from->config_map, "data"), suffix + 1))
            refuse(from, name, "the ConfigMap has no %s", suffix + 1);
    }
}

bool configannotations_have_types(const struct configannotations *from)
{
    return find_annotation(from, TYPES) || find_annotation(from, GPUS);
}

/* The annotation, for a key that is there. */
static bool is_for_a_key(const struct configannotations *from, const char *name,
                         const char *annotation)
{
    const size_t length = strlen(annotation);

    return str_starts_with(name, annotation) && name[length] == '.' &&
           json_object_get(json_object_get(from->config_map, "data"), name + length + 1);
}

bool configannotations_have_types_of_others(const struct configannotations *from)
{
    const char *name;
    json_t *value;

    json_object_foreach(all_of(from), name, value)
    {
        if (is_for_a_key(from, name, TYPES) || is_for_a_key(from, name, GPUS))
            return true;
    }
    return false;
}

static void check_types(const struct configannotations *from)
{
    if (!configannotations_have_types(from))
        refuse(from, TYPES,
               "nothing says which nodes; annotate the ConfigMap with " TYPES
               "=p3.8xlarge,g5.12xlarge, or with " GPUS "=v100,a10g");
}

void configannotations_read(const struct configannotations *from, json_t *spec)
{
    check_types(from);
    check_names(from);
    read_values(from, spec);
}

const char *configannotations_origin(const char *path)
{
    for (size_t i = 0; i < ARRAY_SIZE(annotations); i++) {
        size_t length = strlen(annotations[i].field);

        if (str_starts_with(path, "spec.") &&
            strncmp(path + strlen("spec."), annotations[i].field, length) == 0)
            return annotations[i].annotation;
    }
    return path;
}
