// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A growing text, and a few string functions that libc lacks.
 *
 * `data` is NUL-terminated once anything was added and NULL before; text_string() is never NULL.
 * Adding fails only without memory: the text records the failure and rejects later additions, so a
 * series of additions needs a single check at its end (text_failed).
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"

struct text {
    char *data;
    size_t length;   /* without the NUL */
    size_t capacity; /* bytes behind data */
    bool failed;     /* an addition failed without memory */
};

#define TEXT_INIT    \
    {                \
        .data = NULL \
    }

void text_deinit(struct text *text);

/* Drops the content, keeps the memory. */
void text_clear(struct text *text);

void text_add(struct text *text, const char *string);
void text_add_bytes(struct text *text, const void *bytes, size_t length);
void text_add_char(struct text *text, char c);
void text_addf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* True if an addition was lost. */
bool text_failed(const struct text *text);

/* Borrowed; "" when nothing was added. */
const char *text_string(const struct text *text);

/* Hands over the memory (free it) and empties the text; NULL if an addition was lost. */
char *text_take(struct text *text);

#define cleanup_text cleanup(text_deinit)

bool str_equal(const char *a, const char *b);
bool str_starts_with(const char *string, const char *prefix);
bool str_ends_with(const char *string, const char *suffix);

/* Copies into a fixed buffer; returns -ENAMETOOLONG (and copies nothing) if it does not fit. */
int str_copy(char *to, size_t size, const char *from);

/* Makes it a single line that is safe for terminals and JSON: each control character, and each byte
 * that is not UTF-8, becomes '?'. */
void str_make_line(char *string);

/* Length of the UTF-8 character at the start; 0 = invalid, or a control character. */
size_t str_shown_size(const char *string);

/* Drops an incomplete UTF-8 character at the end: as left by snprintf in too small a buffer. */
void str_drop_partial(char *string);

/* Marks a text that filled its buffer as truncated: "..." after the last complete character. */
void str_mark_cut(char *buffer, size_t size);

/* The candidate nearest to word by edit distance, or NULL if none is close enough to suggest. */
const char *str_suggest(const char *word, const char *const *candidates, size_t n_candidates);

/* `*` matches any run of characters, everything else is literal; matches the whole string. */
bool str_glob(const char *pattern, const char *string);
