// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Maps of a YAML file read by tables: one row per key says how its text is read and where in a
 * struct the result goes. Whatever is wrong becomes a problem with its place; the reading goes on.
 *
 * This is for the files of our own that have one fixed form: the catalog, machine files. The
 * configuration has defaults, flags and NVIDIA's spellings, and so a reader of its own
 * (config/schema.h).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/problem.h"
#include "base/yaml.h"

enum { YAMLMAP_PATH = 160 }; /* room for "nvlink.peers.0-1" and the like; longer ones are cut */

struct yamlmap_choice {
    const char *name;
    uint32_t value;
};

enum yamlmap_kind {
    YAMLMAP_TEXT,    /* char[size] */
    YAMLMAP_NUMBER,  /* uint32_t */
    YAMLMAP_MILLI,   /* uint32_t: a thousand times the number that is written */
    YAMLMAP_SIZE,    /* uint64_t: bytes */
    YAMLMAP_BOOL,    /* uint8_t */
    YAMLMAP_CHOICE,  /* uint32_t */
    YAMLMAP_VERSION, /* uint32_t[2] */
    YAMLMAP_WORD,    /* what `parse` writes */
    YAMLMAP_MAP,     /* a map inside, read by `fields` */
    YAMLMAP_OTHER,   /* the key is known here and read by the caller */
};

/* One key of a map. */
struct yamlmap_field {
    const char *key;
    enum yamlmap_kind kind;
    bool required;
    size_t offset;                        /* from the start of the struct, also in a map inside */
    size_t size;                          /* TEXT: of the buffer */
    uint32_t min, max;                    /* NUMBER, MILLI (as written) */
    const struct yamlmap_choice *choices; /* CHOICE, ended by a NULL name */
    const struct yamlmap_field *fields;   /* MAP, ended by a NULL key */
    bool (*parse)(const char *text, void *to);
    const char *expected; /* WORD: what the text should have been, "a PCI address such as ..." */
};

/* For writing rows. */
#define YAMLMAP_AT(type, member) .offset = offsetof(struct type, member)
#define YAMLMAP_TEXT_AT(type, member) \
    .kind = YAMLMAP_TEXT, YAMLMAP_AT(type, member), .size = sizeof(((struct type *)0)->member)
#define YAMLMAP_NUMBER_AT(type, member, lowest, highest) \
    .kind = YAMLMAP_NUMBER, YAMLMAP_AT(type, member), .min = (lowest), .max = (highest)

/* path.key, or path[0]. `to` has YAMLMAP_PATH bytes. */
void yamlmap_join(char to[YAMLMAP_PATH], const char *path, const char *key);

/* Adds an error at a position of the file. */
#define yamlmap_refuse(problems, at, path, ...) \
    problem_add(problems, PROBLEM_ERROR, at, path, __VA_ARGS__)

/* False, and a problem, if the node is of another kind. */
bool yamlmap_check_kind(struct problems *problems, const struct yaml *node, enum yaml_kind kind,
                        const char *path);

/* A problem for every unknown key, with the known one that was probably meant. */
void yamlmap_check_keys(struct problems *problems, const struct yaml *map, const char *path,
                        const char *const *known, size_t n_known);

/* Exactly one document: 0 and *ret_document (free it with yaml_free(document, 1)), -EBADMSG if
 * `problems` got an error, or -ENOMEM. */
int yamlmap_parse_document(const char *text, size_t size, struct problems *problems,
                           struct yaml **ret_document);

void yamlmap_read_number(struct problems *problems, const struct yamlmap_field *f,
                         const struct yaml *node, const char *path, uint32_t *ret_value);

/* One value, into `base` as its row specifies. */
void yamlmap_read_field(struct problems *problems, const struct yamlmap_field *f,
                        const struct yaml *node, const char *path, void *base);

/* A whole map: missing and unknown keys are problems. */
void yamlmap_read(struct problems *problems, const struct yamlmap_field *fields,
                  const struct yaml *node, const char *path, void *to);

/* The same over existing values: nothing is required. */
void yamlmap_read_over(struct problems *problems, const struct yamlmap_field *fields,
                       const struct yaml *node, const char *path, void *to);

/* Calls `read_item` for each item of a list with its path, "gpus[2]"; a list of more than `max`
 * items, and anything but a list, is a problem. */
void yamlmap_read_list(struct problems *problems, const struct yaml *list, const char *path,
                       size_t max,
                       void (*read_item)(void *context, const struct yaml *item, const char *path),
                       void *context);
