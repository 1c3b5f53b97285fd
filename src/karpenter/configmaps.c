// SPDX-License-Identifier: Apache-2.0
#include "karpenter/configmaps.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/text.h"
#include "base/yamlmap.h"
#include "karpenter/configprofile.h"
#include "karpenter/yamljson.h"

/* One look at one key. */
struct look {
    const struct yaml *config_map, *value; /* the key's text */
    struct problems *problems;             /* of the file */
    struct documents *documents;           /* NULL: only checked */
};

static const struct yaml *metadata_of(const struct yaml *config_map, const char *field)
{
    return yaml_get(yaml_get(config_map, "metadata"), field);
}

static bool is_config_map(const struct yaml *document)
{
    const char *kind = yaml_get_text(document, "kind");

    return kind && str_equal(kind, "ConfigMap");
}

bool configmaps_is_labelled(const struct yaml *document)
{
    const char *label = yaml_get_text(metadata_of(document, "labels"), CONFIGPROFILE_LABEL);

    return is_config_map(document) && label && str_equal(label, "true");
}

/* ---- places ---- */

/* An annotation for this key alone outranks the other. */
static const struct yaml *find_annotation(const struct look *look, const char *name)
{
    const struct yaml *all = metadata_of(look->config_map, "annotations"), *found;
    cleanup_text struct text own = TEXT_INIT;

    text_addf(&own, "%s.%s", name, look->value->key);
    found = yaml_get(all, text_string(&own));
    return found ? found : yaml_get(all, name);
}

static struct position place_of(const struct look *look, const struct problem *problem)
{
    const struct position start = look->value->content_at;
    const struct yaml *annotation = find_annotation(look, problem->path);

    if (problem->at.line && start.line)
        return (struct position){start.line + problem->at.line - 1,
                                 start.column + problem->at.column - 1};
    if (problem->at.line)
        return look->value->at;
    return annotation ? annotation->key_at : look->value->key_at;
}

/* What another reader of the same text said there. */
static bool is_said(const struct problems *problems, struct position at,
                    enum problem_severity severity)
{
    const struct problem *problem = NULL;

    while ((problem = problems_next(problems, problem)))
        if (problem->at.line == at.line && problem->at.column == at.column &&
            problem->severity >= severity)
            return true;
    return false;
}

/* A text in quotes has no lines of its own in the file. */
static void add_problem(const struct look *look, const struct problem *problem)
{
    const struct position at = place_of(look, problem);
    const bool has_lines = look->value->content_at.line > 0;

    if (is_said(look->problems, at, problem->severity))
        return;
    if (problem->at.line && !has_lines)
        problem_add(look->problems, problem->severity, at, problem->path,
                    "in line %u of this text: %s", problem->at.line, problem->text);
    else
        problem_add(look->problems, problem->severity, at, problem->path, "%s", problem->text);
}

/* ---- one key ---- */

static void note(const struct look *look, const char *text, const char *name)
{
    problem_add(look->problems, PROBLEM_NOTE, look->value->key_at, look->value->key, "%s%s", text,
                name);
}

/* It is no longer of the ConfigMap once a person applies it. */
static int add_document(const struct look *look, json_t *profile)
{
    const char *map = yaml_get_text(yaml_get(look->config_map, "metadata"), "name");
    json_t *metadata = json_object_get(profile, "metadata");
    int r;

    json_object_del(metadata, "labels");
    json_object_del(metadata, "annotations");
    r = documents_add(look->documents, json_incref(profile));
    if (r == 0)
        documents_comment(
            look->documents,
            "Of the key %s of the ConfigMap %s, of which gpuslice-controller makes the "
            "same. Before this one is applied, take the label " CONFIGPROFILE_LABEL
            " from the ConfigMap, and wait until its profile has gone.",
            look->value->key, map ? map : "");
    return r;
}

static int take_profile(const struct look *look, json_t *profile)
{
    const char *name =
        json_string_value(json_object_get(json_object_get(profile, "metadata"), "name"));
    int r = 0;

    if (look->documents)
        r = add_document(look, profile);
    else
        note(look, "gpuslice-controller makes a SliceProfile of it, ", name ? name : "");
    json_decref(profile);
    return r;
}

/* 0, -EBADMSG or -ENOMEM. */
static int look_at_key(const struct look *look, const json_t *as_json)
{
    cleanup_problems struct problems found = PROBLEMS_INIT;
    const struct problem *problem = NULL;
    json_t *profile = NULL;
    int r = configprofile_make(as_json, look->value->key, &found, &profile);

    while ((problem = problems_next(&found, problem)))
        add_problem(look, problem);
    if (r == CONFIGPROFILE_WHOLE)
        note(look,
             "offers each GPU whole, which Karpenter knows by itself: it makes no SliceProfile",
             "");
    else if (r == CONFIGPROFILE_NO_TYPES)
        note(look, "no annotation says which nodes, so it makes no SliceProfile", "");
    if (r != 0)
        return r > 0 ? 0 : r;
    return take_profile(look, profile);
}

/* ---- one ConfigMap ---- */

static json_t *json_of(const struct yaml *config_map, struct problems *problems)
{
    const char *name = yaml_get_text(yaml_get(config_map, "metadata"), "name");

    return json_pack(
        "{s:{s:s, s:o}, s:o}", "metadata", "name", name ? name : "", "annotations",
        yamljson_texts(metadata_of(config_map, "annotations"), "metadata.annotations", problems),
        "data", yamljson_texts(yaml_get(config_map, "data"), "data", problems));
}

/* 0, -EBADMSG or -ENOMEM. */
static int look_at_map(const struct yaml *config_map, const char *key, struct problems *problems,
                       struct documents *documents)
{
    const struct yaml *data = yaml_get(config_map, "data");
    json_t *as_json = json_of(config_map, problems);
    int r = as_json ? 0 : -ENOMEM;

    for (size_t i = 0; data && i < data->n_children && r != -ENOMEM; i++) {
        const struct look look = {config_map, &data->children[i], problems, documents};
        int one = 0;

        if (data->children[i].text && (!key || str_equal(data->children[i].key, key)))
            one = look_at_key(&look, as_json);
        r = one < 0 ? one : r;
    }
    json_decref(as_json);
    return r;
}

int configmaps_convert(const struct yaml *config_map, struct problems *problems,
                       struct documents *documents)
{
    const struct yaml *data = yaml_get(config_map, "data");

    if (!data || yaml_is_empty(data)) {
        yamlmap_refuse(problems, config_map->at, "data",
                       "the ConfigMap has no data; each of its keys would be a SliceProfile");
        return -EBADMSG;
    }
    return look_at_map(config_map, NULL, problems, documents);
}

/* ---- a file ---- */

static void check_label(const struct yaml *config_map, struct problems *problems)
{
    const struct yaml *label = yaml_get(metadata_of(config_map, "labels"), CONFIGPROFILE_LABEL);

    if (label && !configmaps_is_labelled(config_map))
        problem_add(problems, PROBLEM_WARNING, label->at, CONFIGPROFILE_LABEL,
                    "the ConfigMap is no slice profile; only \"true\" makes it one");
}

static int check(const struct yaml *documents, size_t n, const char *key, struct problems *problems)
{
    int r = 0;

    for (size_t i = 0; i < n && r != -ENOMEM; i++) {
        const struct yaml *items = yaml_get(&documents[i], "items");

        if (is_config_map(&documents[i]))
            check_label(&documents[i], problems);
        if (configmaps_is_labelled(&documents[i]))
            r = look_at_map(&documents[i], key, problems, NULL);
        else if (items && items->kind == YAML_LIST)
            r = check(items->children, items->n_children, key, problems);
    }
    return r == -ENOMEM ? r : 0;
}

int configmaps_check(const char *text, size_t size, const char *key, struct problems *problems)
{
    cleanup_problems struct problems unseen = PROBLEMS_INIT;
    struct yaml *documents = NULL;
    size_t n = 0;
    int r = yaml_parse(text, size, (struct position){0, 0}, &unseen, &documents, &n);

    if (r == 0) {
        r = check(documents, n, key, problems);
        yaml_free(documents, n);
    }
    return r == -EBADMSG ? 0 : r;
}
