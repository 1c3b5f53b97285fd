// SPDX-License-Identifier: Apache-2.0
#include "base/logline.h"

#include <string.h>

static void add_escaped(struct text *line, const char *string)
{
    while (*string) {
        const unsigned char c = (unsigned char)*string;
        const size_t size = str_shown_size(string);

        if (c == '"' || c == '\\')
            text_addf(line, "\\%c", c);
        else if (size)
            text_add_bytes(line, string, size);
        else if (c == '\n')
            text_add(line, "\\n");
        else if (c < 0x80)
            text_addf(line, "\\u%04x", c);
        else
            text_add_char(line, '?');
        string += size ? size : 1;
    }
}

static void add_quoted(struct text *line, const char *string)
{
    text_add_char(line, '"');
    add_escaped(line, string);
    text_add_char(line, '"');
}

/* The length of a character that logfmt shows without quotes; 0 = it needs them. */
static size_t plain_size(const char *string)
{
    return strchr(" \"=\\", *string) ? 0 : str_shown_size(string);
}

static bool is_plain(const char *string)
{
    const char *end = string;
    size_t size;

    while (*end && (size = plain_size(end)))
        end += size;
    return *string && !*end;
}

/* Keys of logfmt cannot be quoted. */
static void add_key(struct text *line, const char *key)
{
    while (*key) {
        const size_t size = plain_size(key);

        if (size)
            text_add_bytes(line, key, size);
        else
            text_add_char(line, '_');
        key += size ? size : 1;
    }
}

void logline_add(struct text *line, enum log_format format, const char *key, const char *value)
{
    if (format == LOG_JSON) {
        text_add_char(line, line->length ? ',' : '{');
        add_quoted(line, key);
        text_add_char(line, ':');
        add_quoted(line, value);
        return;
    }
    if (line->length)
        text_add_char(line, ' ');
    add_key(line, key);
    text_add_char(line, '=');
    if (is_plain(value))
        text_add(line, value);
    else
        add_quoted(line, value);
}

void logline_end(struct text *line, enum log_format format)
{
    text_add(line, format == LOG_JSON ? "}\n" : "\n");
}
