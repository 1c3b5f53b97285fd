// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * YAML (and so JSON) as a tree that records the position of every node.
 *
 * libyaml does the lexing. Scalars keep their text; types are resolved on access. The input is
 * bounded: size, depth 32, a node budget that aliases count against, no NUL bytes. Anchors and
 * merge keys (`<<`) are expanded under that budget, because NVIDIA's files may use them. Duplicate
 * keys are an error that names the first one. Problems are added to a `struct problems` with their
 * positions.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/problem.h"

enum yaml_kind { YAML_NULL, YAML_SCALAR, YAML_LIST, YAML_MAP };

struct yaml {
    enum yaml_kind kind;
    struct position at;     /* where the value starts */
    struct position key_at; /* where its key starts, for a child of a map */
    char *key;              /* the key, for a child of a map; else NULL */
    char *text;             /* YAML_SCALAR: its text, unescaped; else NULL */
    bool quoted; /* written in quotes or as a block: always a string, never null or a number */
    bool block;  /* a literal block (`|`): text starts on the line after `at`, see content_at */
    bool folded; /* a folded block (`>`): its line breaks have become spaces */
    struct position
        content_at; /* position of its first character: blocks and one-line texts, else {0,0} (a
                       document inside then counts positions from its own start) */
    struct yaml *children; /* YAML_LIST, YAML_MAP: in file order */
    size_t n_children;
};

enum { YAML_MAX_BYTES = 1 << 20, YAML_MAX_DEPTH = 32, YAML_MAX_NODES = 65536 };

/*
 * Parses every document of data. 0 and *ret_documents (free with yaml_free; n may be 0 for an empty
 * input), or -EBADMSG when `problems` got at least one error, or -ENOMEM. `origin` is added to all
 * positions: pass {0,0} for a file; a block scalar's content_at to parse a document inside another.
 */
int yaml_parse(const char *data, size_t size, struct position origin, struct problems *problems,
               struct yaml **ret_documents, size_t *ret_n_documents);

/*
 * Frees an array of documents returned by yaml_parse. The linker sees another name, because libyaml
 * exports a yaml_free of its own and would call ours.
 */
void yaml_free(struct yaml *documents, size_t n_documents) __asm__("gpuslice_yaml_free");

/* The bytes of one line (from 1) without its line break, by the rules that positions are counted
 * by. False if there are fewer lines. */
bool yaml_find_line(const char *data, size_t size, unsigned line, const char **ret_start,
                    size_t *ret_length);

/* True if there is no scalar in it: null, {}, [], and maps and lists of nothing else. */
bool yaml_is_empty(const struct yaml *node);

/* The child of a map with exactly this key, or NULL (also if `map` is NULL or not a map). */
const struct yaml *yaml_get(const struct yaml *map, const char *key);

/* Text of the scalar under key, or NULL. */
const char *yaml_get_text(const struct yaml *map, const char *key);

/* Interpret a plain scalar; false if the node is something else. */
bool yaml_as_bool(const struct yaml *node, bool *ret_value);   /* true, false (YAML 1.2) */
bool yaml_as_int(const struct yaml *node, int64_t *ret_value); /* decimal, also 0x and 0o */
bool yaml_as_double(const struct yaml *node, double *ret_value);
