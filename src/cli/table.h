// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Columns for people: each as wide as its widest cell, two spaces apart, numbers right-aligned.
 * Where a limit for the whole line is set, the widest columns of words are cut in their middle.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { TABLE_MAX_COLUMNS = 12 };

struct table {
    const char *headings[TABLE_MAX_COLUMNS]; /* borrowed, NULL-terminated */
    bool right[TABLE_MAX_COLUMNS];           /* right-aligned, and never cut */
    size_t max_width;                        /* of a line, in characters; 0 = any */
    char **cells;                            /* row by row */
    size_t n_cells, capacity;
    bool failed; /* a cell was lost without memory */
};

void table_deinit(struct table *table);
#define cleanup_table cleanup(table_deinit)

/* Adds the next cell, row by row from the left. */
void table_add(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));

void table_print(const struct table *table, FILE *out);
