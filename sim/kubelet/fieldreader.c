// SPDX-License-Identifier: Apache-2.0
#include "fieldreader.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct path path_format(const char *format, ...)
{
    struct path path;
    va_list args;

    va_start(args, format);
    vsnprintf(path.text, sizeof(path.text), format, args);
    va_end(args);
    return path;
}

struct path path_add(const char *parent, const char *child)
{
    return path_format("%s%s%s", parent, *parent ? "." : "", child);
}

struct path path_index(const char *parent, const char *field, size_t index)
{
    return path_format("%s.%s[%zu]", parent, field, index);
}

char *fieldreader_copy(struct fieldreader *reader, const char *string)
{
    char *new = strdup(string);

    if (!new)
        reader->r = -ENOMEM;
    return new;
}

const struct yaml *fieldreader_get_list(struct fieldreader *reader, const struct yaml *map,
                                        const char *key, const char *path)
{
    const struct yaml *node = yaml_get(map, key);

    if (!node || node->kind == YAML_NULL)
        return NULL;
    if (node->kind != YAML_LIST) {
        fieldreader_complain(reader, node->at, path_add(path, key).text, "must be a list");
        return NULL;
    }
    return node;
}

const struct yaml *fieldreader_get_map(struct fieldreader *reader, const struct yaml *map,
                                       const char *key, const char *path)
{
    const struct yaml *node = yaml_get(map, key);

    if (!node || node->kind == YAML_NULL)
        return NULL;
    if (node->kind != YAML_MAP) {
        fieldreader_complain(reader, node->at, path_add(path, key).text, "must be a map");
        return NULL;
    }
    return node;
}

/* A string field; the API accepts no number or boolean for it. */
const char *fieldreader_get_string(struct fieldreader *reader, const struct yaml *map,
                                   const char *key, const char *path)
{
    const struct yaml *node = yaml_get(map, key);
    int64_t number;
    bool boolean;

    if (!node || node->kind == YAML_NULL)
        return NULL;
    if (node->kind == YAML_SCALAR && !yaml_as_int(node, &number) && !yaml_as_bool(node, &boolean))
        return node->text;
    fieldreader_complain(reader, node->at, path_add(path, key).text,
                         "must be a string: put it in quotes");
    return NULL;
}

int64_t fieldreader_get_count(struct fieldreader *reader, const struct yaml *map, const char *key,
                              const char *path, int64_t fallback, int64_t max)
{
    const struct yaml *node = yaml_get(map, key);
    int64_t value;

    if (!node || node->kind == YAML_NULL)
        return fallback;
    if (!yaml_as_int(node, &value)) {
        fieldreader_complain(reader, node->at, path_add(path, key).text, "must be a whole number");
        return fallback;
    }
    if (value < 0)
        fieldreader_complain(reader, node->at, path_add(path, key).text,
                             "Invalid value: %" PRId64 ": must be greater than or equal to 0",
                             value);
    else if (value > max)
        fieldreader_complain(reader, node->at, path_add(path, key).text,
                             "%" PRId64 " is more than the stand-in allows: at most %" PRId64,
                             value, max);
    else
        return value;
    return fallback;
}

void fieldreader_note_left_out(struct fieldreader *reader, const struct yaml *map, const char *path,
                               const char *const *fields, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct yaml *node = yaml_get(map, fields[i]);

        if (node)
            problem_add(reader->problems, PROBLEM_NOTE, node->key_at,
                        path_add(path, fields[i]).text, "is not simulated by the stand-in");
    }
}

/* `[a-z0-9]([-a-z0-9]*[a-z0-9])?`, with dots for an object, without for a container. */
bool fieldreader_is_dns_name(const char *name, bool dots, size_t longest)
{
    size_t length = strlen(name);

    for (size_t i = 0; i < length; i++)
        if (!islower((unsigned char)name[i]) && !isdigit((unsigned char)name[i]) &&
            name[i] != '-' && !(dots && name[i] == '.'))
            return false;
    return length && length <= longest && isalnum((unsigned char)name[0]) &&
           isalnum((unsigned char)name[length - 1]);
}

char *fieldreader_get_name(struct fieldreader *reader, const struct yaml *map, const char *path,
                           bool object)
{
    const struct yaml *node = yaml_get(map, "name");
    const char *name = fieldreader_get_string(reader, map, "name", path);
    size_t longest = object ? 253 : 63;

    if (!name || !*name) {
        if (!node || node->kind == YAML_NULL || name) /* otherwise already reported */
            fieldreader_complain(reader, map->at, path_add(path, "name").text,
                                 "Required value: give it a name");
        return NULL;
    }
    if (!fieldreader_is_dns_name(name, object, longest)) {
        fieldreader_complain(
            reader, node->at, path_add(path, "name").text,
            "Invalid value: \"%.260s\": must consist of lower case alphanumeric characters%s "
            "or '-', start and end with an alphanumeric character, and have at most %zu",
            name, object ? ", '.'" : "", longest);
        return NULL;
    }
    return fieldreader_copy(reader, name);
}

/* Appends a copy to a NULL-terminated list. */
static int strings_add(char ***strings, size_t *n, const char *string)
{
    char **more = reallocarray(*strings, *n + 2, sizeof(*more));

    if (!more)
        return -ENOMEM;
    *strings = more;
    more[*n] = strdup(string);
    if (!more[*n])
        return -ENOMEM;
    more[++*n] = NULL;
    return 0;
}

char **fieldreader_get_strings(struct fieldreader *reader, const struct yaml *map, const char *key,
                               const char *path)
{
    const struct yaml *list = fieldreader_get_list(reader, map, key, path);
    char **strings = NULL;
    size_t n = 0;

    for (size_t i = 0; list && i < list->n_children; i++) {
        const struct yaml *item = &list->children[i];

        if (item->kind != YAML_SCALAR)
            fieldreader_complain(reader, item->at, path_index(path, key, i).text,
                                 "must be a string");
        else if (strings_add(&strings, &n, item->text) < 0)
            reader->r = -ENOMEM;
    }
    return strings;
}
