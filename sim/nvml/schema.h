// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Maps of a YAML file read by tables: one row per key says how its text is read and where in a
 * struct the result goes. Whatever is wrong becomes a problem with its place; the reading goes on.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/problem.h"
#include "base/yaml.h"

enum { SCHEMA_PATH = 160 }; /* room for "nvlink.peers.0-1" and the like; longer ones are cut */

struct choice {
    const char *name;
    uint32_t value;
};

enum field_kind { F_TEXT, F_NUMBER, F_SIZE, F_BOOL, F_CHOICE, F_VERSION, F_MILLI, F_PCI, F_MAP };

/* One key of a map: how its text is read and where the result goes. */
struct field {
    const char *key;
    enum field_kind kind;
    bool required;
    size_t offset;
    size_t size;                  /* F_TEXT: of the buffer */
    uint32_t min, max;            /* F_NUMBER, F_MILLI (in whole units) */
    const struct choice *choices; /* F_CHOICE, ended by a NULL name */
    const struct field *fields;   /* F_MAP, ended by a NULL key */
};

/* What rows are written with. */
#define AT(type, member) .offset = offsetof(struct type, member)
#define TEXT(type, member) \
    .kind = F_TEXT, AT(type, member), .size = sizeof(((struct type *)0)->member)
#define NUMBER(type, member, lowest, highest) \
    .kind = F_NUMBER, AT(type, member), .min = (lowest), .max = (highest)

#define refuse(problems, at, path, ...) problem_add(problems, PROBLEM_ERROR, at, path, __VA_ARGS__)

/* path.key, or path[0]. `to` has SCHEMA_PATH bytes. */
void schema_join(char *to, size_t size, const char *path, const char *key);

/* False, and a problem, when the node is of another kind. */
bool schema_check_kind(struct problems *problems, const struct yaml *node, enum yaml_kind kind,
                       const char *path);

/* A problem for every key that is not known, with the known one that was probably meant. */
void schema_check_keys(struct problems *problems, const struct yaml *map, const char *path,
                       const char *const *known, size_t n_known);

void schema_read_number(struct problems *problems, const struct field *f, const struct yaml *node,
                        const char *path, uint32_t *ret_value);

/* One value, to where its row says in `base`. */
void schema_read_field(struct problems *problems, const struct field *f, const struct yaml *node,
                       const char *path, void *base);

/* A whole map: missing and unknown keys are problems. */
void schema_read(struct problems *problems, const struct field *fields, const struct yaml *node,
                 const char *path, void *to);
