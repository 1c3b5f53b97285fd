// SPDX-License-Identifier: Apache-2.0
#include "shim/ptx.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "shim/amount.h"

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

#define MOST_ALIGN (UINT64_C(1) << 20)

/* --- words of a text --- */

struct text {
    const char *at, *end;
};

struct word {
    const char *at;
    size_t length; /* 0: the end */
};

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_in_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '$' || c == '%';
}

static bool begins(const struct text *text, const char *with)
{
    const size_t length = strlen(with);

    return (size_t)(text->end - text->at) >= length && memcmp(text->at, with, length) == 0;
}

/* To behind the next one of these, or to the end. */
static void skip_behind(struct text *text, const char *what)
{
    while (text->at < text->end && !begins(text, what))
        text->at++;
    text->at += text->at < text->end ? strlen(what) : 0;
}

static void skip_string(struct text *text)
{
    for (text->at++; text->at < text->end && *text->at != '"'; text->at++)
        if (*text->at == '\\' && text->end - text->at > 1)
            text->at++;
    text->at += text->at < text->end;
}

static void skip_blanks(struct text *text)
{
    while (text->at < text->end) {
        if (is_space(*text->at))
            text->at++;
        else if (begins(text, "//"))
            skip_behind(text, "\n");
        else if (begins(text, "/*"))
            skip_behind(text, "*/");
        else
            return;
    }
}

/* A directive, which ends where another begins; a name, an instruction with all that belongs to it,
 * a number; a string; or one character of any other kind. */
static struct word next(struct text *text)
{
    struct word word;

    skip_blanks(text);
    word.at = text->at;
    if (text->at < text->end && *text->at == '"')
        skip_string(text);
    else
        while (text->at < text->end && is_in_word(*text->at) &&
               (text->at == word.at || *word.at != '.' || *text->at != '.'))
            text->at++;
    if (text->at == word.at && text->at < text->end)
        text->at++;
    word.length = (size_t)(text->at - word.at);
    return word;
}

static bool is_word(struct word word, const char *wanted)
{
    return word.length == strlen(wanted) && memcmp(word.at, wanted, word.length) == 0;
}

/* Digits of C, which may end with U. False: it is not a number. */
static bool read_number(struct word word, uint64_t *ret_number)
{
    char digits[32], *end;

    if (word.length == 0 || word.length >= sizeof(digits) || *word.at < '0' || *word.at > '9')
        return false;
    memcpy(digits, word.at, word.length);
    digits[word.length] = '\0';
    *ret_number = strtoull(digits, &end, 0);
    return *end == '\0' || strcmp(end, "U") == 0;
}

/* --- declarations --- */

static const struct {
    const char *name;
    unsigned bytes;
} types[] =
    {
        {".b8", 1},     {".u8", 1},      {".s8", 1},         {".b16", 2},    {".u16", 2},
        {".s16", 2},    {".f16", 2},     {".bf16", 2},       {".b32", 4},    {".u32", 4},
        {".s32", 4},    {".f32", 4},     {".f16x2", 4},      {".bf16x2", 4}, {".tf32", 4},
        {".b64", 8},    {".u64", 8},     {".s64", 8},        {".f64", 8},    {".b128", 16},
        {".texref", 0}, {".surfref", 0}, {".samplerref", 0}, /* no variables in the end */
};

static bool find_type(struct word word, uint64_t *ret_bytes)
{
    for (size_t i = 0; i < ARRAY_SIZE(types); i++)
        if (is_word(word, types[i].name)) {
            *ret_bytes = types[i].bytes;
            return true;
        }
    return false;
}

/* Of all names of one declaration. */
struct kind {
    uint64_t element_bytes, align;
};

/* What is behind ".global", up to the first name, which is returned. */
static int read_kind(struct text *text, struct kind *ret_kind, struct word *ret_name)
{
    struct kind kind = {0};
    uint64_t lanes = 1;
    bool has_type = false;
    struct word word;

    while ((word = next(text)).length > 0 && *word.at == '.') {
        if (is_word(word, ".align")) {
            if (!read_number(next(text), &kind.align) || kind.align > MOST_ALIGN)
                return PTX_UNKNOWN;
        } else if (is_word(word, ".attribute"))
            skip_behind(text, ")");
        else if (word.length == 3 && word.at[1] == 'v')
            lanes = (uint64_t)(word.at[2] - '0');
        else if (!(has_type = find_type(word, &kind.element_bytes)))
            return PTX_UNKNOWN;
    }
    if (!has_type || word.length == 0 || (lanes != 1 && lanes != 2 && lanes != 4 && lanes != 8))
        return PTX_UNKNOWN;
    kind.element_bytes *= lanes;
    if (!kind.align)
        kind.align = kind.element_bytes ? kind.element_bytes : 1;
    *ret_kind = kind;
    *ret_name = word;
    return kind.align & (kind.align - 1) ? PTX_UNKNOWN : 0;
}

/* Dimensions behind a name, up to the word behind them. *ret_open: the first one is left to the
 * initialiser. */
static int read_dimensions(struct text *text, uint64_t *ret_n, bool *ret_open, struct word *ret_end)
{
    uint64_t n = 1, one;
    bool is_first = true;
    struct word word;

    *ret_open = false;
    for (word = next(text); is_word(word, "["); word = next(text), is_first = false) {
        word = next(text);
        if (is_first && is_word(word, "]")) {
            *ret_open = true;
            continue;
        }
        if (!read_number(word, &one) || !is_word(next(text), "]"))
            return PTX_UNKNOWN;
        n = amount_multiply(n, one);
    }
    *ret_n = n;
    *ret_end = word;
    return 0;
}

/* Behind "=", up to what ends it. Returns how many elements its braces have. */
static uint64_t count_elements(struct text *text, struct word *ret_end)
{
    uint64_t n = 0;
    unsigned depth = 0;
    bool is_empty = true;
    struct word word;

    while ((word = next(text)).length > 0 &&
           (depth > 0 || !(is_word(word, ",") || is_word(word, ";")))) {
        if (is_word(word, "}") || is_word(word, ")")) {
            n += is_word(word, "}") && depth == 1 && !is_empty;
            depth -= depth > 0;
            continue;
        }
        n += depth == 1 && is_word(word, ",");
        is_empty = is_word(word, ",") || (depth == 0 && is_word(word, "{"));
        depth += is_word(word, "{") || is_word(word, "(");
    }
    *ret_end = word;
    return n;
}

/* Behind ".global": its variables are added to what there is before them. */
static int add_declaration(struct text *text, uint64_t *bytes)
{
    struct word word;
    struct kind kind;
    int r = read_kind(text, &kind, &word);

    if (r != 0)
        return r;
    do {
        uint64_t n, elements = 0;
        bool is_open;

        r = read_dimensions(text, &n, &is_open, &word);
        if (r != 0)
            return r;
        if (is_word(word, "="))
            elements = count_elements(text, &word);
        if (is_open)
            n = amount_multiply(n, elements);
        *bytes = amount_add(*bytes, kind.align - 1) & ~(kind.align - 1);
        *bytes = amount_add(*bytes, amount_multiply(n, kind.element_bytes));
    } while (is_word(word, ",") && next(text).length > 0);
    return is_word(word, ";") ? 0 : PTX_UNKNOWN;
}

/* ".global" is a word of declarations, and of parameters, which are in parentheses; instructions
 * have it within theirs. */
int ptx_read(const struct bytes *bytes, struct ptx *ret_ptx)
{
    const size_t length = bytes_text_length(bytes);
    struct text text = {bytes->at, bytes->at + length};
    uint64_t variables_bytes = 0;
    unsigned depth = 0;
    bool is_extern = false;
    struct word word = next(&text);

    if (!is_word(word, ".version"))
        return PTX_UNKNOWN;
    for (; word.length > 0; word = next(&text)) {
        if (depth == 0 && !is_extern && is_word(word, ".global") &&
            add_declaration(&text, &variables_bytes) != 0)
            return PTX_UNKNOWN;
        if (is_word(word, "("))
            depth++;
        else if (is_word(word, ")"))
            depth -= depth > 0;
        is_extern = is_word(word, ".extern");
    }
    *ret_ptx = (struct ptx){variables_bytes, length};
    return 0;
}
