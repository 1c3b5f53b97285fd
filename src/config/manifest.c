// SPDX-License-Identifier: Apache-2.0
#include "config/manifest.h"

#include <errno.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"

/* What was found while walking the documents. */
struct search {
    struct reader *reader;
    const char *key;
    const struct yaml *bare;  /* the first document that is not a manifest */
    const struct yaml *value; /* the chosen value of a ConfigMap's data */
    const struct yaml *map;   /* the first ConfigMap */
    const struct yaml *other; /* the first manifest of another kind */
    const struct yaml *list;  /* the first list of manifests */
    size_t n_values;          /* how many candidate values there are */
    struct text names;        /* their keys, for the error message */
    bool failed;              /* an error was reported that explains why nothing was found */
};

void manifest_deinit(struct manifest *manifest)
{
    yaml_free(manifest->documents, manifest->n_documents);
    yaml_free(manifest->inner, manifest->n_inner);
    *manifest = (struct manifest)MANIFEST_INIT;
}

static bool is_manifest(const struct yaml *document)
{
    return yaml_get(document, "apiVersion") && yaml_get(document, "kind");
}

static void visit_value(struct search *search, const struct yaml *value)
{
    bool wanted = !search->key || str_equal(search->key, value->key);

    if (search->names.length < 200)
        text_addf(&search->names, "%s%s", search->names.length ? ", " : "", show(value->key).text);
    if (!wanted)
        return;
    search->n_values++;
    if (!search->value)
        search->value = value;
}

static void visit_config_map(struct search *search, const struct yaml *map)
{
    const struct yaml *data = yaml_get(map, "data"), *binary = yaml_get(map, "binaryData");

    if (!search->map)
        search->map = map;
    if (data && data->kind != YAML_MAP && data->kind != YAML_NULL) {
        reader_error(search->reader, data->at, "expected a map under 'data', got %s",
                     show_node(data).text);
        search->failed = true;
    }
    if (binary && binary->kind != YAML_NULL)
        reader_report(search->reader, reader_lenient(search->reader), binary->key_at,
                      "binaryData is not read; put the configuration under 'data' as text");
    if (!data || data->kind != YAML_MAP)
        return;
    for (size_t i = 0; i < data->n_children; i++)
        visit_value(search, &data->children[i]);
}

static void visit(struct search *search, const struct yaml *document);

static void visit_items(struct search *search, const struct yaml *items)
{
    if (!items || items->kind != YAML_LIST)
        return;
    for (size_t i = 0; i < items->n_children; i++)
        visit(search, &items->children[i]);
}

static void visit(struct search *search, const struct yaml *document)
{
    const char *kind = yaml_get_text(document, "kind");

    if (document->kind == YAML_NULL)
        return;
    if (!is_manifest(document)) {
        if (search->bare)
            reader_report(search->reader, reader_lenient(search->reader), document->at,
                          "a second document after the one at line %u; only the first is read",
                          search->bare->at.line);
        else
            search->bare = document;
    } else if (kind && str_equal(kind, "ConfigMap")) {
        visit_config_map(search, document);
    } else if (kind && str_ends_with(kind, "List")) {
        search->list = search->list ? search->list : document;
        visit_items(search, yaml_get(document, "items"));
    } else if (!search->other) {
        search->other = document;
    }
}

/* Parses the text under a data key, keeping its positions in the file. */
static int read_inner(struct reader *reader, const struct yaml *value, struct manifest *manifest)
{
    cleanup_problems struct problems inner = PROBLEMS_INIT;
    bool has_places = value->content_at.line > 0;
    int r =
        yaml_parse(value->text, strlen(value->text), value->content_at,
                   has_places ? reader->problems : &inner, &manifest->inner, &manifest->n_inner);

    for (size_t i = 0; i < inner.n_items; i++)
        reader_error(reader, value->at, "in line %u of this text: %s", inner.items[i].at.line,
                     inner.items[i].text);
    return r == -EBADMSG ? 0 : r;
}

/* Positions inside a text that has no lines of its own in the file are no use in an editor. */
static void move_places(struct yaml *node, struct position at)
{
    node->at = at;
    node->key_at = at;
    node->content_at = (struct position){0, 0};
    for (size_t i = 0; i < node->n_children; i++)
        move_places(&node->children[i], at);
}

static const struct yaml *choose_inner(struct reader *reader, const struct manifest *manifest)
{
    const struct yaml *chosen = NULL;

    for (size_t i = 0; i < manifest->n_inner; i++) {
        const struct yaml *document = &manifest->inner[i];

        if (document->kind == YAML_NULL)
            continue;
        if (chosen)
            reader_report(reader, reader_lenient(reader), document->at,
                          "a second document after the one at line %u; only the first is read",
                          chosen->at.line);
        else
            chosen = document;
    }
    if (!chosen || !is_manifest(chosen))
        return chosen;
    reader_error(reader, chosen->at,
                 "a manifest inside the ConfigMap; put the configuration itself here");
    return NULL;
}

static int read_value(struct reader *reader, const struct yaml *value, struct manifest *manifest)
{
    int r;

    if (value->kind == YAML_NULL)
        return 0;
    if (value->kind != YAML_SCALAR) {
        reader_error(reader, value->at,
                     "the data of a ConfigMap is text, got %s; write '%s: |' and the configuration "
                     "indented below it",
                     show_node(value).text, show(value->key).text);
        return 0;
    }
    r = read_inner(reader, value, manifest);
    if (r < 0)
        return r;
    if (value->content_at.line == 0)
        for (size_t i = 0; i < manifest->n_inner; i++)
            move_places(&manifest->inner[i], value->at);
    manifest->config = choose_inner(reader, manifest);
    return 0;
}

/* Reports why no value was chosen; false if one was. */
static bool report_no_value(struct search *search)
{
    struct reader *reader = search->reader;
    const struct yaml *other = search->other;

    if (!search->map && !other)
        reader_error(reader, search->list->at,
                     "the list contains no ConfigMap; add one under 'items'");
    else if (!search->map)
        reader_error(reader, other->at,
                     "a %s cannot be read; the configuration is a file or a ConfigMap",
                     show(yaml_get_text(other, "kind") ? yaml_get_text(other, "kind") : "").text);
    else if (!*text_string(&search->names))
        reader_error(reader, search->map->at,
                     "the ConfigMap has no data; put the configuration under a key of 'data'");
    else if (search->key && search->n_values == 0)
        reader_error(reader, search->map->at, "the ConfigMap has no key '%s', only: %s",
                     show(search->key).text, text_string(&search->names));
    else if (search->n_values > 1 && search->key)
        reader_error(reader, search->map->at,
                     "%zu ConfigMaps here have the key '%s'; keep one in the file",
                     search->n_values, show(search->key).text);
    else if (search->n_values > 1)
        reader_error(reader, search->map->at, "several configurations; choose one with --key: %s",
                     text_string(&search->names));
    else
        return false;
    return true;
}

static int choose(struct search *search, struct manifest *manifest)
{
    struct reader *reader = search->reader;

    if (search->bare && search->map) {
        reader_error(reader, search->bare->at,
                     "the file contains a ConfigMap (line %u) and something that is not a "
                     "manifest; keep one of them",
                     search->map->at.line);
        return 0;
    }
    if (search->bare) {
        if (search->key)
            reader_note(reader, search->bare->at,
                        "the key '%s' is not needed: this file is not a ConfigMap",
                        show(search->key).text);
        if (search->other)
            reader_report(
                reader, reader_lenient(reader), search->other->at,
                "a manifest next to the configuration is not read; move it to another file");
        manifest->config = search->bare;
        return 0;
    }
    if (search->failed || (!search->map && !search->other && !search->list) ||
        report_no_value(search))
        return 0;
    return search->value ? read_value(reader, search->value, manifest) : 0;
}

int manifest_read(struct reader *reader, const char *data, size_t size, const char *key,
                  struct manifest *manifest)
{
    struct search search = {.reader = reader, .key = key, .names = TEXT_INIT};
    int r = yaml_parse(data, size, (struct position){0, 0}, reader->problems, &manifest->documents,
                       &manifest->n_documents);

    if (r < 0)
        return r == -EBADMSG ? 0 : r;
    for (size_t i = 0; i < manifest->n_documents; i++)
        visit(&search, &manifest->documents[i]);
    r = choose(&search, manifest);
    text_deinit(&search.names);
    return r;
}
