// SPDX-License-Identifier: Apache-2.0
#include "cli/emit.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/array.h"

void emit_json(FILE *out, const json_t *tree)
{
    json_dumpf(tree, out, JSON_INDENT(2));
    fputc('\n', out);
}

static bool is_keyword(const char *text)
{
    static const char *const keywords[] = {"true", "false", "null", "yes", "no",
                                           "on",   "off",   "y",    "n"};

    for (size_t i = 0; i < ARRAY_SIZE(keywords); i++)
        if (!strcasecmp(text, keywords[i]))
            return true;
    return false;
}

/* Stricter than YAML requires: starts like a word and contains no special characters. */
static bool is_plain(const char *text)
{
    if (!isalpha((unsigned char)text[0]) || is_keyword(text))
        return false;
    for (const char *c = text; *c; c++) {
        if (isalnum((unsigned char)*c) || strchr("._/+-()", *c))
            continue;
        if (*c == ' ' && c[1] && c[1] != ' ')
            continue;
        if (*c == ':' && c[1] && c[1] != ' ')
            continue;
        return false;
    }
    return true;
}

static void add_quoted(struct text *out, const char *text)
{
    text_add_char(out, '"');
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c == '"' || *c == '\\')
            text_addf(out, "\\%c", *c);
        else if (*c < 0x20 || *c == 0x7f)
            text_addf(out, "\\x%02x", *c);
        else if (*c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0) /* U+0080...U+009F: not printable */
            text_addf(out, "\\x%02x", *++c);
        else
            text_add_char(out, (char)*c);
    }
    text_add_char(out, '"');
}

static void add_text(struct text *out, const char *text)
{
    if (is_plain(text))
        text_add(out, text);
    else
        add_quoted(out, text);
}

static bool is_empty(const json_t *value)
{
    return (json_is_object(value) && json_object_size(value) == 0) ||
           (json_is_array(value) && json_array_size(value) == 0);
}

static void add_scalar(struct text *out, const json_t *value)
{
    if (json_is_string(value))
        add_text(out, json_string_value(value));
    else if (json_is_integer(value))
        text_addf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value))
        text_addf(out, "%.17g", json_real_value(value));
    else if (json_is_boolean(value))
        text_add(out, json_is_true(value) ? "true" : "false");
    else if (json_is_object(value))
        text_add(out, "{}");
    else
        text_add(out, json_is_array(value) ? "[]" : "null");
}

static void add_value(struct text *out, const json_t *value, int indent);

static void add_indent(struct text *out, int indent)
{
    text_addf(out, "%*s", indent, "");
}

/* The cursor is where the first key goes: at the start of a line, or after "- ". */
static void add_map(struct text *out, const json_t *map, int indent, bool at_line_start)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)map, key, value)
    {
        if (at_line_start)
            add_indent(out, indent);
        at_line_start = true;
        add_text(out, key);
        text_add_char(out, ':');
        add_value(out, value, json_is_array(value) ? indent : indent + 2);
    }
}

static void add_list(struct text *out, const json_t *list, int indent)
{
    size_t i;
    json_t *value;

    json_array_foreach(list, i, value)
    {
        add_indent(out, indent);
        text_add_char(out, '-');
        if (json_is_object(value) && !is_empty(value)) {
            text_add_char(out, ' ');
            add_map(out, value, indent + 2, false);
        } else {
            add_value(out, value, indent + 2);
        }
    }
}

/* After "key:" or "-": a scalar on the same line, or a block on the following ones. */
static void add_value(struct text *out, const json_t *value, int indent)
{
    if (is_empty(value) || !(json_is_object(value) || json_is_array(value))) {
        text_add_char(out, ' ');
        add_scalar(out, value);
        text_add_char(out, '\n');
        return;
    }
    text_add_char(out, '\n');
    if (json_is_object(value))
        add_map(out, value, indent, true);
    else
        add_list(out, value, indent);
}

void emit_yaml(struct text *out, const json_t *tree)
{
    if (json_is_object(tree) && !is_empty(tree)) {
        add_map(out, tree, 0, true);
    } else if (json_is_array(tree) && !is_empty(tree)) {
        add_list(out, tree, 0);
    } else {
        add_scalar(out, tree);
        text_add_char(out, '\n');
    }
}
