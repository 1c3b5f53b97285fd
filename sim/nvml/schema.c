// SPDX-License-Identifier: Apache-2.0
#include "nvml/schema.h"

#include <string.h>

#include "base/array.h"
#include "base/text.h"
#include "nvml/word.h"

void schema_join(char *to, size_t size, const char *path, const char *key)
{
    snprintf(to, size, "%s%s%s", path, *path && *key != '[' ? "." : "", key);
}

static void refuse_key(struct problems *problems, const struct yaml *node, const char *path,
                       const char *const *known, size_t n_known)
{
    const char *near = str_suggest(node->key, known, n_known);
    char where[SCHEMA_PATH];

    schema_join(where, sizeof(where), path, node->key);
    if (near)
        refuse(problems, node->key_at, where, "unknown key; did you mean '%s'?", near);
    else
        refuse(problems, node->key_at, where, "unknown key");
}

static void refuse_choice(struct problems *problems, const struct yaml *node, const char *path,
                          const struct choice *choices)
{
    cleanup_text struct text list = TEXT_INIT;
    const char *names[16] = {""}, *near;
    size_t n = 0;

    for (const struct choice *c = choices; c->name && n < ARRAY_SIZE(names); c++) {
        text_addf(&list, "%s%s", n ? ", " : "", c->name);
        names[n++] = c->name;
    }
    near = node->text ? str_suggest(node->text, names, n) : NULL;
    if (near)
        refuse(problems, node->at, path, "'%s' is not known; did you mean '%s'?", node->text, near);
    else
        refuse(problems, node->at, path, "expected one of %s", text_string(&list));
}

static bool read_choice(struct problems *problems, const struct yaml *node, const char *path,
                        const struct choice *choices, uint32_t *ret_value)
{
    for (const struct choice *c = choices; c->name; c++)
        if (node->text && str_equal(node->text, c->name)) {
            *ret_value = c->value;
            return true;
        }
    refuse_choice(problems, node, path, choices);
    return false;
}

void schema_read_number(struct problems *problems, const struct field *f, const struct yaml *node,
                        const char *path, uint32_t *ret_value)
{
    int64_t value;

    if (!yaml_as_int(node, &value))
        refuse(problems, node->at, path, "expected a whole number");
    else if (value < f->min || value > f->max)
        refuse(problems, node->at, path, "expected a number from %u to %u", f->min, f->max);
    else
        *ret_value = (uint32_t)value * (f->kind == F_MILLI ? 1000 : 1);
}

static void read_text(struct problems *problems, const struct field *f, const struct yaml *node,
                      const char *path, char *to)
{
    if (!node->text || !*node->text)
        refuse(problems, node->at, path, "expected a text");
    else if (str_copy(to, f->size, node->text) < 0)
        refuse(problems, node->at, path, "longer than %zu bytes", f->size - 1);
}

void schema_read_field(struct problems *problems, const struct field *f, const struct yaml *node,
                       const char *path, void *base)
{
    void *to = (char *)base + f->offset;
    struct pci_address pci;
    uint32_t pair[2], choice;
    uint64_t size;
    bool yes;

    switch (f->kind) {
    case F_TEXT:
        read_text(problems, f, node, path, to);
        return;
    case F_NUMBER:
    case F_MILLI:
        schema_read_number(problems, f, node, path, to);
        return;
    case F_SIZE:
        if (!node->text || !word_size(node->text, &size))
            refuse(problems, node->at, path, "expected a size such as 16384Mi");
        else
            memcpy(to, &size, sizeof(size));
        return;
    case F_BOOL:
        if (!yaml_as_bool(node, &yes))
            refuse(problems, node->at, path, "expected true or false");
        else
            *(uint8_t *)to = yes;
        return;
    case F_CHOICE:
        if (read_choice(problems, node, path, f->choices, &choice))
            memcpy(to, &choice, sizeof(choice));
        return;
    case F_VERSION:
        if (!node->text || !word_version(node->text, &pair[0], &pair[1]))
            refuse(problems, node->at, path, "expected two numbers such as 7.0");
        else
            memcpy(to, pair, sizeof(pair));
        return;
    case F_PCI:
        if (!node->text || !word_pci(node->text, &pci))
            refuse(problems, node->at, path, "expected a PCI address such as 0000:00:1b.0");
        else
            memcpy(to, &pci, sizeof(pci));
        return;
    case F_MAP:
        schema_read(problems, f->fields, node, path, base);
        return;
    }
}

bool schema_check_kind(struct problems *problems, const struct yaml *node, enum yaml_kind kind,
                       const char *path)
{
    if (node->kind == kind)
        return true;
    refuse(problems, node->at, path, "expected a %s", kind == YAML_MAP ? "map" : "list");
    return false;
}

void schema_check_keys(struct problems *problems, const struct yaml *map, const char *path,
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

void schema_read(struct problems *problems, const struct field *fields, const struct yaml *node,
                 const char *path, void *to)
{
    const char *known[40];
    size_t n_known = 0;

    if (!schema_check_kind(problems, node, YAML_MAP, path))
        return;
    for (const struct field *f = fields; f->key; f++) {
        const struct yaml *child = yaml_get(node, f->key);
        char where[SCHEMA_PATH];

        known[n_known++] = f->key;
        schema_join(where, sizeof(where), path, f->key);
        if (child)
            schema_read_field(problems, f, child, where, to);
        else if (f->required)
            refuse(problems, node->at, path, "'%s' is missing", f->key);
    }
    schema_check_keys(problems, node, path, known, n_known);
}
