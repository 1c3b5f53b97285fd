// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Typed access to the fields of a manifest, with the API server's error messages: for podmanifest.c
 * and template.c only.
 *
 * A getter returns its default (NULL, or the given one) for a field that is absent, null or wrong;
 * a wrong one is also reported. Maps may be NULL, so that getters can be chained.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/problem.h"
#include "base/yaml.h"

struct fieldreader {
    struct problems *problems;
    int r; /* 0, or -ENOMEM once memory ran out */
};

/* The path of a field, for people; truncated if keys are very long. */
struct path {
    char text[512];
};

struct path path_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
struct path path_add(const char *parent, const char *child);
struct path path_index(const char *parent, const char *field, size_t index);

#define fieldreader_complain(reader, at, path, ...) \
    problem_add((reader)->problems, PROBLEM_ERROR, at, path, __VA_ARGS__)

/* strdup; a failure is recorded in reader->r. */
char *fieldreader_copy(struct fieldreader *reader, const char *string);

const struct yaml *fieldreader_get_list(struct fieldreader *reader, const struct yaml *map,
                                        const char *key, const char *path);
const struct yaml *fieldreader_get_map(struct fieldreader *reader, const struct yaml *map,
                                       const char *key, const char *path);
/* The API accepts no number or boolean for a string. */
const char *fieldreader_get_string(struct fieldreader *reader, const struct yaml *map,
                                   const char *key, const char *path);
int64_t fieldreader_get_count(struct fieldreader *reader, const struct yaml *map, const char *key,
                              const char *path, int64_t fallback, int64_t max);
/* `name`, of an object or of a container; free it. */
char *fieldreader_get_name(struct fieldreader *reader, const struct yaml *map, const char *path,
                           bool object);
/* A list of strings, NULL-terminated; free them and it. */
char **fieldreader_get_strings(struct fieldreader *reader, const struct yaml *map, const char *key,
                               const char *path);

/* Records which of these unsupported fields the map has. */
void fieldreader_note_left_out(struct fieldreader *reader, const struct yaml *map, const char *path,
                               const char *const *fields, size_t n);

/* `[a-z0-9]([-a-z0-9]*[a-z0-9])?` of at most `longest` bytes, with inner dots if allowed. */
bool fieldreader_is_dns_name(const char *name, bool dots, size_t longest);
