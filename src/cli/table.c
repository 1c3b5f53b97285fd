// SPDX-License-Identifier: Apache-2.0
#include "cli/table.h"

#include <stdarg.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"
#include "cli/style.h"

void table_deinit(struct table *table)
{
    for (size_t i = 0; i < table->n_cells; i++)
        free(table->cells[i]);
    free(table->cells);
    table->cells = NULL;
    table->n_cells = table->capacity = 0;
}

void table_add(struct table *table, const char *format, ...)
{
    va_list args;
    char *text = NULL, **cell;

    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        text = NULL;
    va_end(args);
    cell =
        text ? array_push(&table->cells, &table->n_cells, &table->capacity, sizeof(*cell)) : NULL;
    if (!cell) {
        free(text);
        table->failed = true;
        return;
    }
    *cell = text;
}

static size_t count_columns(const struct table *table)
{
    size_t n = 0;

    while (n < TABLE_MAX_COLUMNS && table->headings[n])
        n++;
    return n;
}

/* Characters, not bytes: a model name may contain a trademark sign. */
static size_t text_width(const char *text)
{
    size_t width = 0;

    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

/* The place of the character that has n before it. */
static const char *skip(const char *text, size_t n)
{
    while (n && *text) {
        text++;
        n -= ((unsigned char)*text & 0xc0) != 0x80;
    }
    return text;
}

/* "nvidia.com/gp..haring": the end of a name tells as much as its beginning. */
static void add_words(struct text *line, const char *text, size_t width)
{
    const size_t has = text_width(text), kept = width > 2 ? width - 2 : 0;
    const char *head = skip(text, kept - kept / 2), *tail = skip(text, has - kept / 2);

    if (has <= width)
        text_add(line, text);
    else
        text_addf(line, "%.*s..%s", (int)(head - text), text, tail);
}

static void add_cell(struct text *line, const char *text, size_t width, bool right)
{
    const size_t has = text_width(text);
    int padding = has < width ? (int)(width - has) : 0;

    if (line->length)
        text_add(line, "  ");
    if (right)
        text_addf(line, "%*s", padding, "");
    add_words(line, text, width);
    if (!right)
        text_addf(line, "%*s", padding, "");
}

/* Without the trailing spaces of a short last cell. */
static void print_line(FILE *out, struct text *line, bool bold)
{
    size_t length = line->length;

    while (length && line->data[length - 1] == ' ')
        length--;
    if (bold)
        style_begin(out, STYLE_BOLD);
    fprintf(out, "%.*s", (int)length, text_string(line));
    if (bold)
        style_end(out);
    fputc('\n', out);
    text_clear(line);
}

/* The widest column of words, which gives way; n_columns if there is none left to give. */
static size_t find_widest(const struct table *table, const size_t *width, size_t n_columns)
{
    enum { SHORTEST = 8 };
    size_t widest = n_columns;

    for (size_t i = 0; i < n_columns; i++)
        if (!table->right[i] && width[i] > SHORTEST &&
            (widest == n_columns || width[i] > width[widest]))
            widest = i;
    return widest;
}

static void fit(const struct table *table, size_t *width, size_t n_columns)
{
    size_t sum = 2 * (n_columns - 1), widest;

    for (size_t i = 0; i < n_columns; i++)
        sum += width[i];
    for (; table->max_width && sum > table->max_width; sum--) {
        widest = find_widest(table, width, n_columns);
        if (widest == n_columns)
            return;
        width[widest]--;
    }
}

void table_print(const struct table *table, FILE *out)
{
    size_t n_columns = count_columns(table), width[TABLE_MAX_COLUMNS];
    cleanup_text struct text line = TEXT_INIT;

    if (n_columns == 0)
        return;
    for (size_t i = 0; i < n_columns; i++)
        width[i] = text_width(table->headings[i]);
    for (size_t i = 0; i < table->n_cells; i++)
        if (text_width(table->cells[i]) > width[i % n_columns])
            width[i % n_columns] = text_width(table->cells[i]);
    fit(table, width, n_columns);
    for (size_t i = 0; i < n_columns; i++)
        add_cell(&line, table->headings[i], width[i], table->right[i]);
    print_line(out, &line, true);
    for (size_t i = 0; i < table->n_cells; i++) {
        add_cell(&line, table->cells[i], width[i % n_columns], table->right[i % n_columns]);
        if ((i + 1) % n_columns == 0)
            print_line(out, &line, false);
    }
}
