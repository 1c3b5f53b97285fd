// SPDX-License-Identifier: Apache-2.0
#include "base/yamlmap.h"

#include <errno.h>
#include <string.h>

#include "base/array.h"
#include "base/number.h"
#include "base/text.h"

#define refuse yamlmap_refuse

void yamlmap_join(char to[YAMLMAP_PATH], const char *path, const char *key)
{
    snprintf(to, YAMLMAP_PATH, "%s%s%s", path, *path && *key != '[' ? "." : "", key);
}

static void refuse_key(struct problems *problems, const struct yaml *node, const char *path,
                       const char *const *known, size_t n_known)
{
    const char *near = str_suggest(node->key, known, n_known);
    char where[YAMLMAP_PATH];

    yamlmap_join(where, path, node->key);
    if (near)
        refuse(problems, node->key_at, where, "unknown key; did you mean '%s'?", near);
    else
        refuse(problems, node->key_at, where, "unknown key");
}

static void refuse_choice(struct problems *problems, const struct yaml *node, const char *path,
                          const struct yamlmap_choice *choices)
{
    cleanup_text struct text list = TEXT_INIT;
    const char *names[16] = {""}, *near;
    size_t n = 0;

    for (const struct yamlmap_choice *c = choices; c->name && n < ARRAY_SIZE(names); c++) {
        text_addf(&list, "%s%s", n ? ", " : "", c->name);
        names[n++] = c->name;
    }
    near = node->text ? str_suggest(node->text, names, n) : NULL;
    if (near)
        refuse(problems, node->at, path, "'%s' is not known; did you mean '%s'?", node->text, near);
    else
        refuse(problems, node->at, path, "expected one of %s", text_string(&list));
}

static void read_choice(struct problems *problems, const struct yaml *node, const char *path,
                        const struct yamlmap_choice *choices, uint32_t *to)
{
    for (const struct yamlmap_choice *c = choices; c->name; c++)
        if (node->text && str_equal(node->text, c->name)) {
            *to = c->value;
            return;
        }
    refuse_choice(problems, node, path, choices);
}

void yamlmap_read_number(struct problems *problems, const struct yamlmap_field *f,
                         const struct yaml *node, const char *path, uint32_t *ret_value)
{
    int64_t value;

    if (!yaml_as_int(node, &value))
        refuse(problems, node->at, path, "expected a whole number");
    else if (value < f->min || value > f->max)
        refuse(problems, node->at, path, "expected a number from %u to %u", f->min, f->max);
    else
        *ret_value = (uint32_t)value * (f->kind == YAMLMAP_MILLI ? 1000 : 1);
}

static void read_text(struct problems *problems, const struct yamlmap_field *f,
                      const struct yaml *node, const char *path, char *to)
{
    if (!node->text || !*node->text)
        refuse(problems, node->at, path, "expected a text");
    else if (str_copy(to, f->size, node->text) < 0)
        refuse(problems, node->at, path, "longer than %zu bytes", f->size - 1);
}

static void read_bool(struct problems *problems, const struct yaml *node, const char *path,
                      uint8_t *to)
{
    bool yes;

    if (yaml_as_bool(node, &yes))
        *to = yes;
    else
        refuse(problems, node->at, path, "expected true or false");
}

static void read_map(struct problems *problems, const struct yamlmap_field *fields,
                     const struct yaml *node, const char *path, bool whole, void *to);

static void read_field(struct problems *problems, const struct yamlmap_field *f,
                       const struct yaml *node, const char *path, bool whole, void *base)
{
    void *to = (char *)base + f->offset;
    uint32_t *numbers = to;

    switch (f->kind) {
    case YAMLMAP_TEXT:
        read_text(problems, f, node, path, to);
        return;
    case YAMLMAP_NUMBER:
    case YAMLMAP_MILLI:
        yamlmap_read_number(problems, f, node, path, to);
        return;
    case YAMLMAP_SIZE:
        if (!node->text || !number_parse_size(node->text, to))
            refuse(problems, node->at, path, "expected a size such as 16384Mi");
        return;
    case YAMLMAP_BOOL:
        read_bool(problems, node, path, to);
        return;
    case YAMLMAP_CHOICE:
        read_choice(problems, node, path, f->choices, to);
        return;
    case YAMLMAP_VERSION:
        if (!node->text || !number_parse_version(node->text, &numbers[0], &numbers[1]))
            refuse(problems, node->at, path, "expected two numbers such as 7.0");
        return;
    case YAMLMAP_WORD:
        if (!node->text || !f->parse(node->text, to))
            refuse(problems, node->at, path, "expected %s", f->expected);
        return;
    case YAMLMAP_MAP:
        read_map(problems, f->fields, node, path, whole, base);
        return;
    case YAMLMAP_OTHER:
        return;
    }
}

void yamlmap_read_field(struct problems *problems, const struct yamlmap_field *f,
                        const struct yaml *node, const char *path, void *base)
{
    read_field(problems, f, node, path, true, base);
}

bool yamlmap_check_kind(struct problems *problems, const struct yaml *node, enum yaml_kind kind,
                        const char *path)
{
    if (node->kind == kind)
        return true;
    refuse(problems, node->at, path, "expected a %s", kind == YAML_MAP ? "map" : "list");
    return false;
}

void yamlmap_check_keys(struct problems *problems, const struct yaml *map, const char *path,
                        const char *const *known, size_t n_known)
{
    for (size_t i = 0; i < map->n_children; i++) {
        bool found = false;

        for (size_t j = 0; j < n_known && !found; j++)
            found = str_equal(map->children[i].key, known[j]);
        if (!found)
            refuse_key(problems, &map->children[i], path, known, n_known);
    }
}

int yamlmap_parse_document(const char *text, size_t size, struct problems *problems,
                           struct yaml **ret_document)
{
    struct yaml *documents;
    size_t n = 0;
    int r = yaml_parse(text, size, (struct position){0, 0}, problems, &documents, &n);

    if (r < 0)
        return r;
    if (n == 1) {
        *ret_document = documents;
        return 0;
    }
    yaml_free(documents, n);
    problem_add(problems, PROBLEM_ERROR, (struct position){1, 1}, "",
                n == 0 ? "the file is empty" : "expected one YAML document, not several");
    return -EBADMSG;
}

static void read_map(struct problems *problems, const struct yamlmap_field *fields,
                     const struct yaml *node, const char *path, bool whole, void *to)
{
    const char *known[40];
    size_t n_known = 0;

    if (!yamlmap_check_kind(problems, node, YAML_MAP, path))
        return;
    for (const struct yamlmap_field *f = fields; f->key && n_known < ARRAY_SIZE(known); f++) {
        const struct yaml *child = yaml_get(node, f->key);
        char where[YAMLMAP_PATH];

        known[n_known++] = f->key;
        yamlmap_join(where, path, f->key);
        if (child)
            read_field(problems, f, child, where, whole, to);
        else if (f->required && whole)
            refuse(problems, node->at, path, "'%s' is missing", f->key);
    }
    yamlmap_check_keys(problems, node, path, known, n_known);
}

void yamlmap_read(struct problems *problems, const struct yamlmap_field *fields,
                  const struct yaml *node, const char *path, void *to)
{
    read_map(problems, fields, node, path, true, to);
}

void yamlmap_read_over(struct problems *problems, const struct yamlmap_field *fields,
                       const struct yaml *node, const char *path, void *to)
{
    read_map(problems, fields, node, path, false, to);
}

void yamlmap_read_list(struct problems *problems, const struct yaml *list, const char *path,
                       size_t max,
                       void (*read_item)(void *context, const struct yaml *item, const char *path),
                       void *context)
{
    if (!yamlmap_check_kind(problems, list, YAML_LIST, path))
        return;
    for (size_t i = 0; i < list->n_children; i++) {
        char where[YAMLMAP_PATH];

        snprintf(where, sizeof(where), "%s[%zu]", path, i);
        if (i == max) {
            refuse(problems, list->children[i].at, where, "the list has more than %zu items", max);
            return;
        }
        read_item(context, &list->children[i], where);
    }
}
