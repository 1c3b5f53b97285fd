// SPDX-License-Identifier: Apache-2.0
#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

void text_deinit(struct text *text)
{
    free(text->data);
    *text = (struct text)TEXT_INIT;
}

void text_clear(struct text *text)
{
    text->length = 0;
    text->failed = false;
    if (text->data)
        text->data[0] = '\0';
}

static bool reserve(struct text *text, size_t more)
{
    size_t capacity = text->capacity ? text->capacity : 64;
    char *data;

    if (text->failed || more >= SIZE_MAX / 4 - text->length)
        goto lost;
    if (text->length + more < text->capacity)
        return true;
    while (capacity <= text->length + more)
        capacity *= 2;
    data = realloc(text->data, capacity);
    if (!data)
        goto lost;
    text->data = data;
    text->capacity = capacity;
    return true;
lost:
    text->failed = true;
    return false;
}

void text_add_bytes(struct text *text, const void *bytes, size_t length)
{
    if (!reserve(text, length))
        return;
    if (length)
        memcpy(text->data + text->length, bytes, length);
    text->length += length;
    text->data[text->length] = '\0';
}

void text_add(struct text *text, const char *string)
{
    text_add_bytes(text, string, strlen(string));
}

void text_add_char(struct text *text, char c)
{
    text_add_bytes(text, &c, 1);
}

void text_addf(struct text *text, const char *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0) {
        text->failed = true;
        return;
    }
    if (!reserve(text, (size_t)n))
        return;
    va_start(args, format);
    vsnprintf(text->data + text->length, (size_t)n + 1, format, args);
    va_end(args);
    text->length += (size_t)n;
}

bool text_failed(const struct text *text)
{
    return text->failed;
}

const char *text_string(const struct text *text)
{
    return text->data ? text->data : "";
}

char *text_take(struct text *text)
{
    char *data;

    text_add_bytes(text, "", 0); /* so that an empty text is "" and not NULL */
    if (text->failed) {
        text_deinit(text);
        return NULL;
    }
    data = TAKE_PTR(text->data);
    *text = (struct text)TEXT_INIT;
    return data;
}

bool str_equal(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

bool str_starts_with(const char *string, const char *prefix)
{
    return strncmp(string, prefix, strlen(prefix)) == 0;
}

bool str_ends_with(const char *string, const char *suffix)
{
    size_t length = strlen(string), tail = strlen(suffix);

    return length >= tail && strcmp(string + length - tail, suffix) == 0;
}

int str_copy(char *to, size_t size, const char *from)
{
    size_t length = strlen(from);

    if (length >= size)
        return -ENAMETOOLONG;
    memcpy(to, from, length + 1);
    return 0;
}

/* Length of a UTF-8 character by its first byte; 0 = invalid. */
static size_t size_by_lead(unsigned char c)
{
    return c < 0x80 ? 1 : c >> 5 == 6 ? 2 : c >> 4 == 14 ? 3 : c >> 3 == 30 ? 4 : 0;
}

size_t str_shown_size(const char *string)
{
    static const uint32_t least[] = {0, ' ', 0xa0, 0x800, 0x10000};
    const unsigned char *c = (const unsigned char *)string;
    const size_t size = size_by_lead(*c);
    uint32_t code = size > 1 ? *c & (0x7fu >> size) : *c;

    for (size_t i = 1; i < size; i++) {
        if (c[i] >> 6 != 2)
            return 0;
        code = code << 6 | (c[i] & 0x3f);
    }
    if (code < least[size] || code == 0x7f || (code >= 0xd800 && code <= 0xdfff) || code > 0x10ffff)
        return 0;
    return size;
}

void str_make_line(char *string)
{
    while (*string) {
        const size_t size = str_shown_size(string);

        if (size)
            string += size;
        else
            *string++ = '?';
    }
}

void str_drop_partial(char *string)
{
    const size_t length = strlen(string);

    for (size_t n = 1; n <= 3 && n <= length; n++) {
        char *c = string + length - n;

        if ((unsigned char)*c >> 6 == 2)
            continue;
        if (size_by_lead((unsigned char)*c) > n)
            *c = '\0';
        return;
    }
}

void str_mark_cut(char *buffer, size_t size)
{
    size_t length;

    buffer[size - sizeof("...")] = '\0';
    str_drop_partial(buffer);
    length = strlen(buffer);
    memcpy(buffer + length, "...", sizeof("..."));
}

enum { SUGGEST_MAX = 64 }; /* longer words are not typos */

/* Edit distance with transpositions, ignoring case. */
static size_t distance(const char *a, size_t n_a, const char *b, size_t n_b)
{
    size_t rows[3][SUGGEST_MAX + 1];
    size_t *before = rows[0], *last = rows[1], *now = rows[2];

    for (size_t j = 0; j <= n_b; j++)
        last[j] = j;
    for (size_t i = 1; i <= n_a; i++) {
        now[0] = i;
        for (size_t j = 1; j <= n_b; j++) {
            int ca = tolower((unsigned char)a[i - 1]), cb = tolower((unsigned char)b[j - 1]);
            size_t best = last[j - 1] + (ca != cb);

            best = last[j] + 1 < best ? last[j] + 1 : best;
            best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
            if (i > 1 && j > 1 && ca == tolower((unsigned char)b[j - 2]) &&
                cb == tolower((unsigned char)a[i - 2]) && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            now[j] = best;
        }
        size_t *spare = before;
        before = last;
        last = now;
        now = spare;
    }
    return last[n_b];
}

const char *str_suggest(const char *word, const char *const *candidates, size_t n_candidates)
{
    size_t length = strlen(word), best = SIZE_MAX;
    const char *found = NULL;

    if (length == 0 || length > SUGGEST_MAX)
        return NULL;
    for (size_t i = 0; i < n_candidates; i++) {
        size_t n = strlen(candidates[i]), d;

        if (n > SUGGEST_MAX)
            continue;
        d = distance(word, length, candidates[i], n);
        if (d < best && d * 3 <= (n > length ? n : length)) {
            best = d;
            found = candidates[i];
        }
    }
    return found;
}

bool str_glob(const char *pattern, const char *string)
{
    const char *star = NULL, *resume = NULL;

    while (*string) {
        if (*pattern == '*') {
            star = pattern++;
            resume = string;
        } else if (*pattern == *string) {
            pattern++;
            string++;
        } else if (star) {
            pattern = star + 1;
            string = ++resume;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}
