// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The generic value types that schema rows refer to. */

#include "config/schema.h"

extern const struct kind kind_bool;       /* bool */
extern const struct kind kind_tristate;   /* enum tristate: distinguishes unset from false */
extern const struct kind kind_switch;     /* bool; a flag that takes no value: --help */
extern const struct kind kind_text;       /* char *, owned */
extern const struct kind kind_path;       /* char *, owned; warns when it is not absolute */
extern const struct kind kind_word;       /* enum; detail: struct word[] */
extern const struct kind kind_duration;   /* uint64_t in ns; a bare number in the file is in ns */
extern const struct kind kind_resource;   /* char[RESOURCE_NAME_SIZE] */
extern const struct kind kind_split;      /* unsigned, permille: 0%...100% */
extern const struct kind kind_count;      /* unsigned; detail: struct bounds */
extern const struct kind kind_strategies; /* unsigned; detail: struct word[] of bits */
extern const struct kind kind_version;    /* stores nothing: only v1 exists */

/* For values that only the program uses. */
extern const struct kind kind_borrowed; /* const char *, not owned */
extern const struct kind kind_borrowed_path;
extern const struct kind kind_address;      /* the same, "host:port" or "" */
extern const struct kind kind_word_text;    /* the same, one of detail's words */
extern const struct kind kind_words_text;   /* the same, several of them joined by commas; or "" */
extern const struct kind kind_filled;       /* the same, but never "" */
extern const struct kind kind_milliseconds; /* unsigned */
extern const struct kind kind_ignored;      /* accepted and ignored */

struct bounds {
    unsigned min, max;
};

/*
 * Reads an integer; what only YAML 1.1 or Go's parser accepts as one (4.0, 1_000, 010) is accepted
 * with a warning. False if a problem was added.
 */
bool read_integer(struct reader *reader, const struct yaml *node, int64_t min, int64_t max,
                  int64_t *ret_value);

/* The text of a scalar, or NULL after reporting that `expected` was expected. */
const char *read_scalar(struct reader *reader, const struct yaml *node, const char *expected);

/* A kind's read() for values that read the same in a file as in a flag: calls its parse(). */
int read_by_parse(struct reader *reader, const struct option *option, const struct yaml *node,
                  void *slot);

/* "none, single, mixed" */
struct word_list {
    char text[160];
};
struct word_list list_words(const struct word *words);
