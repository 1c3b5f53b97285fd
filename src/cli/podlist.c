// SPDX-License-Identifier: Apache-2.0
#include "cli/podlist.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/number.h"
#include "base/text.h"
#include "config/quantity.h"
#include "slice/share.h"

enum { COLUMNS_MAX = 64, FIELD_MAX = 128, NOT_READ = -1 };

void podlist_deinit(struct podlist *podlist)
{
    free(podlist->rows);
    names_deinit(&podlist->kinds);
    *podlist = (struct podlist)PODLIST_INIT;
}

/* ---- What a field says ---- */

struct reader {
    struct problems *problems;
    struct podlist podlist;
    struct podlist_row row; /* of this line */
    size_t n_pods;
    int columns[COLUMNS_MAX]; /* rows of `columns` below, in the order of the file, or NOT_READ */
    size_t n_columns;
    bool failed; /* without memory */
};

static int read_share(struct reader *reader, const char *text, struct error *err)
{
    return quantity_percent(text, &reader->row.share_permille, err);
}

static int read_milli(struct reader *reader, const char *text, struct error *err)
{
    uint32_t milli;

    if (!number_parse(text, &milli) || milli > SHARE_WHOLE)
        return error_set(err, -EINVAL, "write thousandths of a GPU, from 0 to %d", SHARE_WHOLE);
    reader->row.share_permille = milli;
    return 0;
}

static int read_gpus(struct reader *reader, const char *text, struct error *err)
{
    if (!number_parse(text, &reader->row.n_gpus) || reader->row.n_gpus > 1000)
        return error_set(err, -EINVAL, "write how many GPUs the pod wants, from 0 to 1000");
    return 0;
}

static int read_count(struct reader *reader, const char *text, struct error *err)
{
    if (!number_parse(text, &reader->row.n_pods) || reader->row.n_pods > PODLIST_MAX_PODS)
        return error_set(err, -EINVAL, "write how many such pods there are, from 0 to %d",
                         PODLIST_MAX_PODS);
    return 0;
}

static int read_memory(struct reader *reader, const char *text, struct error *err)
{
    return quantity_bytes(text, &reader->row.mem_bytes, err);
}

static int read_model(struct reader *reader, const char *text, struct error *err)
{
    struct names *kinds = &reader->podlist.kinds;

    for (size_t i = 0; i < kinds->n_items; i++)
        if (str_equal(kinds->items[i], text)) {
            reader->row.kind = i;
            return 0;
        }
    if (kinds->n_items == PODLIST_MAX_KINDS)
        return error_set(err, -EINVAL, "this is the kind of GPU number %d, and there may be %d",
                         PODLIST_MAX_KINDS, PODLIST_MAX_KINDS - 1);
    reader->row.kind = kinds->n_items;
    reader->failed = names_add(kinds, text, strlen(text)) < 0;
    return 0;
}

/* An empty field leaves what holds without the column. */
static const struct {
    const char *name;
    enum what { NOTHING, SHARE, GPUS, COUNT, MEMORY, MODEL } what; /* of pods and GPUs it says */
    int (*read)(struct reader *reader, const char *text, struct error *err); /* NULL: NOTHING */
} columns[] = {
    {"share", SHARE, read_share},     {"gpu_milli", SHARE, read_milli},
    {"gpus", GPUS, read_gpus},        {"num_gpu", GPUS, read_gpus},
    {"count", COUNT, read_count},     {"memory", MEMORY, read_memory},
    {"model", MODEL, read_model},     {"gpu_spec", MODEL, read_model},
    {"name", NOTHING, NULL},          {"cpu_milli", NOTHING, NULL},
    {"memory_mib", NOTHING, NULL},    {"qos", NOTHING, NULL},
    {"pod_phase", NOTHING, NULL},     {"creation_time", NOTHING, NULL},
    {"deletion_time", NOTHING, NULL}, {"scheduled_time", NOTHING, NULL},
};

/* ---- Fields ---- */

/* What is left of the text, and where that is. */
struct cursor {
    const char *next, *end;
    struct position at;
};

struct field {
    char text[FIELD_MAX]; /* without blanks around it */
    struct position at;
    bool is_cut, is_open; /* too long; its quotes are not closed */
    bool is_last;         /* of its line */
};

static char take(struct cursor *cursor)
{
    const char c = *cursor->next++;

    if (c == '\n')
        cursor->at = (struct position){cursor->at.line + 1, 1};
    else if (((unsigned char)c & 0xc0) != 0x80) /* the first byte of a character */
        cursor->at.column++;
    return c;
}

static void trim(struct field *field)
{
    size_t length = strlen(field->text), blank = strspn(field->text, " \t");

    while (length > blank && strchr(" \t\r", field->text[length - 1]))
        length--;
    memmove(field->text, field->text + blank, length - blank);
    field->text[length - blank] = '\0';
}

/* Up to a comma or the end of the line; between quotes those are characters, and "" is a quote. */
static void take_field(struct cursor *cursor, struct field *field)
{
    bool is_quoted = false, is_over = false;
    size_t n = 0;

    *field = (struct field){.at = cursor->at, .is_last = true};
    while (cursor->next < cursor->end && !is_over) {
        const char c = take(cursor);

        if (c == '"' && is_quoted && cursor->next < cursor->end && *cursor->next == '"')
            take(cursor);
        else if (c == '"') {
            is_quoted = !is_quoted;
            continue;
        }
        is_over = !is_quoted && (c == ',' || c == '\n');
        field->is_last = c != ',' || !is_over;
        field->is_cut = field->is_cut || (!is_over && n + 1 >= sizeof(field->text));
        if (!is_over && !field->is_cut)
            field->text[n++] = c ? c : '?';
    }
    field->text[n] = '\0';
    field->is_open = is_quoted;
    trim(field);
}

/* ---- Lines ---- */

static void refuse(struct reader *reader, struct position at, const char *column, const char *text)
{
    problem_add(reader->problems, PROBLEM_ERROR, at, column, "%s", text);
}

static int find_column(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(columns); i++)
        if (str_equal(columns[i].name, name))
            return (int)i;
    return NOT_READ;
}

/* The heading that says this; NULL if there is none yet. */
static const char *find_saying(const struct reader *reader, enum what what)
{
    for (size_t i = 0; i < reader->n_columns; i++) {
        const int column = reader->columns[i];

        if (column != NOT_READ && columns[column].what == what)
            return columns[column].name;
    }
    return NULL;
}

static void warn_unknown(struct reader *reader, const struct field *field)
{
    const char *names[ARRAY_SIZE(columns)], *near;

    for (size_t i = 0; i < ARRAY_SIZE(columns); i++)
        names[i] = columns[i].name;
    near = str_suggest(field->text, names, ARRAY_SIZE(columns));
    if (near)
        problem_add(reader->problems, PROBLEM_WARNING, field->at, field->text,
                    "no such column is read; did you mean %s?", near);
    else
        problem_add(reader->problems, PROBLEM_WARNING, field->at, field->text,
                    "no such column is read; those that are: share, gpus, count, memory, model");
}

static void read_heading(struct reader *reader, const struct field *field)
{
    const int column = find_column(field->text);
    const enum what what = column == NOT_READ ? NOTHING : columns[column].what;
    const char *same = what == NOTHING ? NULL : find_saying(reader, what);

    if (reader->n_columns == COLUMNS_MAX) {
        refuse(reader, field->at, "",
               "there are too many columns; leave out those that say nothing about GPUs");
        return;
    }
    if (column == NOT_READ)
        warn_unknown(reader, field);
    else if (same)
        problem_add(reader->problems, PROBLEM_ERROR, field->at, field->text,
                    "the column %s says the same; keep one of them", same);
    reader->columns[reader->n_columns++] = column;
}

static void read_headings(struct reader *reader, struct cursor *cursor)
{
    const struct position at = cursor->at;
    struct field field;

    do {
        take_field(cursor, &field);
        read_heading(reader, &field);
    } while (!field.is_last && !problems_count(reader->problems, PROBLEM_ERROR));
    if (!problems_count(reader->problems, PROBLEM_ERROR) && !find_saying(reader, SHARE) &&
        !find_saying(reader, MEMORY))
        refuse(reader, at, "",
               "the first line names the columns, and none says what part of a GPU a pod wants; "
               "add share (with values such as 25%), gpu_milli or memory");
}

static void read_value(struct reader *reader, const struct field *field, size_t i)
{
    const int column = i < reader->n_columns ? reader->columns[i] : NOT_READ;
    struct error err = ERROR_INIT;

    if (field->is_open)
        refuse(reader, field->at, "", "the quotes are not closed");
    if (column == NOT_READ || !columns[column].read || !*field->text)
        return;
    if (field->is_cut)
        refuse(reader, field->at, columns[column].name, "the value is too long");
    else if (columns[column].read(reader, field->text, &err) < 0)
        problem_add(reader->problems, PROBLEM_ERROR, field->at, columns[column].name, "'%s': %s",
                    field->text, error_text(&err));
}

/* A row whose fields were all right. */
static void keep_row(struct reader *reader)
{
    struct podlist *podlist = &reader->podlist;
    struct podlist_row *row = &reader->row, *kept;

    reader->n_pods += row->n_pods;
    if (reader->n_pods > PODLIST_MAX_PODS) {
        refuse(reader, row->at, "", "with this line there are more pods than can be counted");
        return;
    }
    if (!row->n_gpus || (!row->share_permille && !row->mem_bytes)) {
        podlist->n_without += row->n_pods;
        return;
    }
    if (row->n_gpus > 1 && row->share_permille != SHARE_WHOLE) {
        refuse(reader, row->at, "", "parts of several GPUs are no slice; write one GPU, or 100%");
        return;
    }
    kept = array_push(&podlist->rows, &podlist->n_rows, &podlist->capacity, sizeof(*kept));
    if (kept)
        *kept = *row;
    else
        reader->failed = true;
}

static void read_row(struct reader *reader, struct cursor *cursor)
{
    const size_t n_errors = problems_count(reader->problems, PROBLEM_ERROR);
    struct field field;
    size_t n = 0;

    reader->row = (struct podlist_row){.at = cursor->at, .n_pods = 1, .n_gpus = 1};
    do {
        take_field(cursor, &field);
        read_value(reader, &field, n++);
    } while (!field.is_last);
    if (n == 1 && !*field.text)
        return;
    if (n != reader->n_columns)
        problem_add(reader->problems, PROBLEM_ERROR, reader->row.at, "",
                    "the line has %zu fields, and the first line names %zu columns", n,
                    reader->n_columns);
    if (problems_count(reader->problems, PROBLEM_ERROR) == n_errors)
        keep_row(reader);
}

int podlist_parse(const char *text, size_t size, struct problems *problems,
                  struct podlist *ret_podlist)
{
    struct reader reader = {.problems = problems};
    struct cursor cursor = {text, text + size, {1, 1}};
    const char mark[] = "\xef\xbb\xbf"; /* of byte order: spreadsheets write one */
    size_t n_errors;

    if (size >= strlen(mark) && !memcmp(text, mark, strlen(mark)))
        cursor.next += strlen(mark);
    reader.failed = names_add(&reader.podlist.kinds, "", 0) < 0;
    read_headings(&reader, &cursor);
    n_errors = problems_count(problems, PROBLEM_ERROR);
    while (!reader.failed && cursor.next < cursor.end && n_errors < PODLIST_MAX_ERRORS) {
        read_row(&reader, &cursor);
        n_errors = problems_count(problems, PROBLEM_ERROR);
    }
    if (!reader.failed && !n_errors) {
        *ret_podlist = reader.podlist;
        return 0;
    }
    podlist_deinit(&reader.podlist);
    return reader.failed ? -ENOMEM : -EBADMSG;
}
