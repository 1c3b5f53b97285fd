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

static void add_cell(struct text *line, const char *text, size_t width, bool right)
{
    int padding = (int)(width - text_width(text));

    if (line->length)
        text_add(line, "  ");
    if (right)
        text_addf(line, "%*s%s", padding, "", text);
    else
        text_addf(line, "%s%*s", text, padding, "");
}

/* Without the trailing spaces of a short last cell. */
static void print_line(FILE *out, struct text *line)
{
    size_t length = line->length;

    while (length && line->data[length - 1] == ' ')
        length--;
    fprintf(out, "%.*s\n", (int)length, text_string(line));
    text_clear(line);
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
    for (size_t i = 0; i < n_columns; i++)
        add_cell(&line, table->headings[i], width[i], table->right[i]);
    style_begin(out, STYLE_BOLD);
    print_line(out, &line);
    style_end(out);
    for (size_t i = 0; i < table->n_cells; i++) {
        add_cell(&line, table->cells[i], width[i % n_columns], table->right[i % n_columns]);
        if ((i + 1) % n_columns == 0)
            print_line(out, &line);
    }
}
