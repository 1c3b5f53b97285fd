// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Typed access to the fields of a manifest, with the API server's error messages: for manifest.c
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

struct reader {
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

#define reader_complain(reader, at, path, ...) \
    problem_add((reader)->problems, PROBLEM_ERROR, at, path, __VA_ARGS__)

/* strdup; a failure is recorded in reader->r. */
char *reader_copy(struct reader *reader, const char *string);

const struct yaml *reader_get_list(struct reader *reader, const struct yaml *map, const char *key,
                                   const char *path);
const struct yaml *reader_get_map(struct reader *reader, const struct yaml *map, const char *key,
                                  const char *path);
/* The API accepts no number or boolean for a string. */
const char *reader_get_string(struct reader *reader, const struct yaml *map, const char *key,
                              const char *path);
int64_t reader_get_count(struct reader *reader, const struct yaml *map, const char *key,
                         const char *path, int64_t fallback, int64_t max);
/* `name`, of an object or of a container; free it. */
char *reader_get_name(struct reader *reader, const struct yaml *map, const char *path, bool object);
/* A list of strings, NULL-terminated; free them and it. */
char **reader_get_strings(struct reader *reader, const struct yaml *map, const char *key,
                          const char *path);

/* Records which of these unsupported fields the map has. */
void reader_note_left_out(struct reader *reader, const struct yaml *map, const char *path,
                          const char *const *fields, size_t n);

/* `[a-z0-9]([-a-z0-9]*[a-z0-9])?` of at most `longest` bytes, with inner dots if allowed. */
bool reader_is_dns_name(const char *name, bool dots, size_t longest);
