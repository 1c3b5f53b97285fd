// SPDX-License-Identifier: Apache-2.0
#include "karpenter/yamljson.h"

#include "base/text.h"
#include "base/yamlmap.h"

static json_t *scalar(const struct yaml *node)
{
    int64_t number;
    bool truth;

    if (!node->quoted && yaml_as_bool(node, &truth))
        return json_boolean(truth);
    if (!node->quoted && yaml_as_int(node, &number))
        return json_integer(number);
    return json_string(node->text);
}

json_t *yamljson(const struct yaml *node)
{
    json_t *value = node->kind == YAML_MAP ? json_object() : json_array();

    switch (node->kind) {
    case YAML_NULL:
        json_decref(value);
        return json_null();
    case YAML_SCALAR:
        json_decref(value);
        return scalar(node);
    case YAML_LIST:
        for (size_t i = 0; i < node->n_children; i++)
            json_array_append_new(value, yamljson(&node->children[i]));
        return value;
    case YAML_MAP:
        for (size_t i = 0; i < node->n_children; i++)
            json_object_set_new(value, node->children[i].key, yamljson(&node->children[i]));
        return value;
    }
    return NULL;
}

json_t *yamljson_texts(const struct yaml *map, const char *path, struct problems *problems)
{
    json_t *texts = json_object();

    if (!map || !yamlmap_check_kind(problems, map, YAML_MAP, path))
        return texts;
    for (size_t i = 0; i < map->n_children; i++) {
        const struct yaml *node = &map->children[i];
        char where[YAMLMAP_PATH];

        yamlmap_join(where, path, node->key);
        if (node->text)
            json_object_set_new(texts, node->key, json_string(node->text));
        else
            yamlmap_refuse(problems, node->at, where, "expected a text");
    }
    return texts;
}

static void collect(const struct yaml *documents, size_t n, const char *wanted, json_t *objects)
{
    for (size_t i = 0; i < n; i++) {
        const char *kind = yaml_get_text(&documents[i], "kind");
        const struct yaml *items = yaml_get(&documents[i], "items");

        if (kind && str_equal(kind, wanted))
            json_array_append_new(objects, yamljson(&documents[i]));
        else if (kind && items && items->kind == YAML_LIST && str_ends_with(kind, "List"))
            collect(items->children, items->n_children, wanted, objects);
    }
}

int yamljson_collect(const char *text, size_t size, const char *kind, struct problems *problems,
                     json_t *objects)
{
    struct yaml *documents;
    size_t n;
    int r = yaml_parse(text, size, (struct position){0, 0}, problems, &documents, &n);

    if (r < 0)
        return r;
    collect(documents, n, kind, objects);
    yaml_free(documents, n);
    return 0;
}
