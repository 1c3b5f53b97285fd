// SPDX-License-Identifier: Apache-2.0
#include "karpenter/paste.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

/* A line of the text, without its line break. */
struct line {
    char *start;
    size_t length;
};

static bool next_line(char **at, char *end, struct line *ret_line)
{
    char *start = *at, *stop;

    if (start >= end)
        return false;
    stop = memchr(start, '\n', (size_t)(end - start));
    if (!stop)
        stop = end;
    *ret_line = (struct line){start, (size_t)(stop - start)};
    *at = stop + 1;
    return true;
}

static struct line trim(struct line line)
{
    while (line.length && strchr(" \t\r", line.start[0])) {
        line.start++;
        line.length--;
    }
    while (line.length && strchr(" \t\r", line.start[line.length - 1]))
        line.length--;
    return line;
}

static void blank(struct line line)
{
    memset(line.start, ' ', line.length);
}

static bool begins(struct line line, const char *word)
{
    const struct line trimmed = trim(line);
    const size_t length = strlen(word);

    return trimmed.length >= length && memcmp(trimmed.start, word, length) == 0;
}

/* Markdown's own rule: what is indented by more is a line of something else. */
static bool is_fence(struct line line)
{
    const struct line trimmed = trim(line);

    return trimmed.start - line.start <= 3 && (begins(line, "```") || begins(line, "~~~"));
}

static bool is_blank(struct line line)
{
    return trim(line).length == 0;
}

/* The stray word: YAML would take it for a document of its own, or for the start of a text. */
static bool is_stray(struct line line)
{
    const struct line word = trim(line);

    return (word.length == 4 && strncasecmp(word.start, "yaml", 4) == 0) ||
           (word.length == 3 && strncasecmp(word.start, "yml", 3) == 0);
}

/* Between two fences. */
static bool has_kind(char *start, char *end)
{
    struct line line;

    while (next_line(&start, end, &line))
        if (begins(line, "kind:") || begins(line, "- kind:") || begins(line, "\"kind\":") ||
            begins(line, "{"))
            return true;
    return false;
}

static void blank_range(char *start, char *end)
{
    struct line line;

    while (next_line(&start, end, &line))
        blank(line);
}

/* The word above a manifest, after nothing but blank lines. */
static void drop_stray(char *start, char *end)
{
    struct line line;

    while (next_line(&start, end, &line)) {
        if (is_blank(line))
            continue;
        if (!is_stray(line))
            return;
        blank(line);
    }
}

static size_t count_fences(char *text, char *end)
{
    struct line line;
    size_t n = 0;

    while (next_line(&text, end, &line))
        n += is_fence(line);
    return n;
}

/* "---" where the fence or the start of a here document was, which is at least as long. */
static void separate(struct line line)
{
    blank(line);
    memcpy(line.start, "---", 3);
}

/* ---- Here documents ---- */

static bool is_word(char c)
{
    return c == '_' || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* "cat <<-'EOF' > file": the word that ends it. */
static bool opens_here(struct line line, struct line *ret_word)
{
    char *at = line.length ? memmem(line.start, line.length, "<<", 2) : NULL,
         *end = line.start + line.length;

    if (!at)
        return false;
    at += 2;
    while (at < end && strchr("-~ \"'\\", *at))
        at++;
    *ret_word = (struct line){at, 0};
    while (at < end && is_word(*at))
        at++;
    ret_word->length = (size_t)(at - ret_word->start);
    return ret_word->length > 0;
}

static bool is_end(struct line line, struct line word)
{
    const struct line trimmed = trim(line);

    return trimmed.length == word.length && memcmp(trimmed.start, word.start, word.length) == 0;
}

/* The line that ends a here document; without one it goes to the end. */
static struct line find_end(char *at, char *end, struct line word)
{
    struct line line = {end, 0};

    while (next_line(&at, end, &line))
        if (is_end(line, word))
            return line;
    return (struct line){end, 0};
}

/* The next line from *at on that opens one with a manifest, unless a manifest begins before. */
static bool find_here(char **at, char *end, struct line *ret_opening, struct line *ret_end)
{
    struct line line, word;

    while (next_line(at, end, &line)) {
        if (has_kind(line.start, line.start + line.length))
            return false;
        if (!opens_here(line, &word))
            continue;
        *ret_opening = line;
        *ret_end = find_end(*at, end, word);
        if (has_kind(*at, ret_end->start))
            return true;
        *at = ret_end->start + ret_end->length;
    }
    return false;
}

/* False: there is none with a manifest, and nothing is changed. */
static bool clean_here(char *text, char *end)
{
    struct line opening, ending;
    char *at = text, *after = text;
    bool found = false;

    while (find_here(&at, end, &opening, &ending)) {
        found = true;
        blank_range(after, opening.start);
        separate(opening);
        at = after = ending.start;
        blank(ending);
    }
    if (found)
        blank_range(after, end);
    return found;
}

static void clean_block(char *start, char *end)
{
    if (!has_kind(start, end))
        blank_range(start, end);
    else if (!clean_here(start, end))
        drop_stray(start, end);
}

/* Prose, a block, prose, ... */
static void clean_markdown(char *text, char *end)
{
    char *block = NULL;
    struct line line;

    while (next_line(&text, end, &line)) {
        if (!is_fence(line) && !block)
            blank(line);
        if (!is_fence(line))
            continue;
        if (block)
            clean_block(block, line.start);
        block = block ? NULL : line.start + line.length;
        separate(line);
    }
}

/* A part of a page: one of the fences was left behind. */
static void drop_fences(char *text, char *end)
{
    char *at = text;
    struct line line;

    while (next_line(&at, end, &line))
        if (is_fence(line))
            blank(line);
    drop_stray(text, end);
}

void paste_clean(char *text, size_t size)
{
    size_t n_fences = count_fences(text, text + size);

    if (n_fences && n_fences % 2 == 0)
        clean_markdown(text, text + size);
    else if (!clean_here(text, text + size))
        drop_fences(text, text + size);
}
